//! Putting work into the queue and taking it out again: for services, the API of administrators and the command line.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use super::Job;
use super::model::{JobId, JobRow, State, Status};
use super::registry::Registry;
use super::store::{self, NewRow};
use crate::platform::clock::Clock;
use crate::platform::db::{Db, On};
use crate::platform::error::{Error, Result};
use crate::platform::telemetry::metrics::METRICS;

/// The queue of this process; a clone is one counter.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    clock: Clock,
    registry: Registry,
    /// Something is there to be claimed. One wake-up too many costs one query.
    enqueued: watch::Sender<()>,
    /// Cancelled while it was running, perhaps here.
    cancelled: broadcast::Sender<JobId>,
}

/// How a job is to be run; by default at once, after those that came before.
#[derive(Debug, Clone, Default)]
pub struct New {
    /// While a job with this name of the caller's waits or runs, a second one is not made.
    pub dedupe_key: Option<String>,
    pub delay: TimeDelta,
    /// Higher ones first; 0 is ordinary.
    pub priority: i32,
    /// Whose data the payload holds.
    pub owner_id: Option<String>,
}

impl Queue {
    pub fn new(clock: Clock, registry: Registry) -> Self {
        Self(Arc::new(Inner { clock, registry, enqueued: watch::Sender::new(()), cancelled: broadcast::Sender::new(256) }))
    }

    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Promises the job: by itself, or together with the caller's transaction. One statement. `None` where one with
    /// the same `dedupe_key` waits or runs.
    pub async fn enqueue<J: Job>(&self, on: impl Into<On<'_>>, job: &J, new: New) -> Result<Option<JobId>> {
        let payload = serde_json::to_value(job).map_err(anyhow::Error::new)?;
        self.insert(on, J::NAME, payload, J::MAX_ATTEMPTS, new).await
    }

    /// As [`Queue::enqueue`], for a function and a payload that came from outside.
    pub async fn enqueue_by_name(&self, on: impl Into<On<'_>>, function: &str, payload: Value, new: New) -> Result<Option<JobId>> {
        let Some(known) = self.0.registry.find(function) else {
            return Err(Error::BadRequest(format!("There is no function {function}")));
        };
        known.check(&payload.to_string()).map_err(|error| Error::BadRequest(format!("Arguments of {}: {error}", known.name)))?;
        self.insert(on, known.name, payload, known.max_attempts, new).await
    }

    async fn insert(
        &self,
        on: impl Into<On<'_>>,
        function: &'static str,
        payload: Value,
        max_attempts: i32,
        new: New,
    ) -> Result<Option<JobId>> {
        let mut on = on.into();
        let (after, id) = (on.after_commit(), JobId::new());
        let row = NewRow { id, function, payload, max_attempts, new };
        if !store::insert(on, row, &self.0.clock).await? {
            return Ok(None);
        }
        let queue = self.clone();
        after.run(move || {
            METRICS.background_jobs.with_label_values(&[function, "enqueued"]).inc();
            queue.wake();
        });
        Ok(Some(id))
    }

    /// The waiting or running job of this `dedupe_key`.
    pub async fn find_pending(&self, on: impl Into<On<'_>>, dedupe_key: &str) -> Result<Option<JobId>> {
        Ok(store::pending(on, dedupe_key).await?)
    }

    pub async fn get(&self, db: &Db, id: JobId) -> Result<Option<JobRow>> {
        Ok(store::by_id(db, id, self.0.clock.now()).await?)
    }

    /// Newest first, and how many there are in all.
    pub async fn page(&self, db: &Db, status: Option<Status>, limit: i64, skip: i64) -> Result<(Vec<JobRow>, i64)> {
        Ok(store::page(db, status, limit, skip, self.0.clock.now()).await?)
    }

    /// Asks for a job that failed or was cancelled once more, as a new one.
    pub async fn retry(&self, db: &Db, id: JobId) -> Result<JobId> {
        let row = self.get(db, id).await?.ok_or_else(|| Error::not_found("Job", id.to_string()))?;
        match row.state {
            State::Done => return Err(Error::BadRequest("The job has succeeded".to_owned())),
            State::Queued | State::Running => return Err(Error::BadRequest("The job is still waiting or running".to_owned())),
            State::Dead | State::Cancelled => {}
        }
        let payload = serde_json::from_str(&row.kwargs).map_err(|_| Error::BadRequest("The job's arguments cannot be read".to_owned()))?;
        // A second click does not do the work twice.
        let new = New { dedupe_key: Some(format!("retry:{id}")), owner_id: row.owner_id, ..New::default() };
        let made = self.enqueue_by_name(db, &row.function, payload, new).await?;
        made.ok_or_else(|| Error::BadRequest("The job is being retried already".to_owned()))
    }

    /// Cancels a job: a waiting one at once, a running one as soon as its worker hears of it. Says which it was.
    pub async fn cancel(&self, db: &Db, id: JobId) -> Result<Status> {
        let now = self.0.clock.now();
        match store::cancel(db, id, now).await? {
            Some(State::Running) => {
                // Nobody listens where no worker runs in this process.
                let _ = self.0.cancelled.send(id);
                Ok(Status::InProgress)
            }
            Some(_) => Ok(Status::Cancelled),
            None if store::by_id(db, id, now).await?.is_some() => Err(Error::BadRequest("The job has finished already".to_owned())),
            None => Err(Error::not_found("Job", id.to_string())),
        }
    }

    /// Jobs whose time has come and that nobody has claimed.
    pub async fn waiting(&self, db: &Db) -> Result<i64> {
        Ok(store::waiting(db, &self.0.clock).await?)
    }

    /// Removes a bounded number of finished jobs past their time; says how many.
    pub async fn sweep_finished(&self, db: &Db) -> Result<u64> {
        Ok(store::sweep_finished(db, self.0.clock.now()).await?)
    }

    /// Removes every job that holds this user's data, whatever its state.
    pub async fn erase(&self, on: impl Into<On<'_>>, owner_id: &str) -> Result<u64> {
        Ok(store::erase(on, owner_id).await?)
    }

    /// Tells the worker of this process that there may be something to claim.
    pub(super) fn wake(&self) {
        self.0.enqueued.send_replace(());
    }

    pub(super) fn wakes(&self) -> watch::Receiver<()> {
        self.0.enqueued.subscribe()
    }

    pub(super) fn cancellations(&self) -> broadcast::Receiver<JobId> {
        self.0.cancelled.subscribe()
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }
}
