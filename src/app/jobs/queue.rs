//! Queue operations for services, the admin API and the command line: enqueue, list, retry, cancel.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use super::job::Job;
use super::metrics::JobMetrics;
use super::model::{JobId, JobRow, New, State, Status};
use super::registry::Catalog;
use super::store::{self, NewRow};
use crate::platform::clock::Clock;
use crate::platform::db::{Db, Executor};
use crate::platform::error::{Error, Result};
use crate::platform::http::RequestContext;
use crate::platform::id::{PathId, UserId};
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::usage::Usage;

/// The queue of this process. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    clock: Clock,
    catalog: Catalog,
    metrics: JobMetrics,
    usage: Usage,
    /// Wakes the worker of this process; a needless wake-up costs one query.
    enqueued: watch::Sender<()>,
    /// Jobs cancelled while they were running, perhaps in this process.
    cancelled: broadcast::Sender<JobId>,
}

impl Queue {
    pub fn new(clock: Clock, catalog: Catalog, metrics: &Metrics, usage: &Usage) -> Self {
        let (enqueued, cancelled) = (watch::Sender::new(()), broadcast::Sender::new(256));
        let (metrics, usage) = (JobMetrics::new(metrics), usage.clone());
        Self(Arc::new(Inner { clock, catalog, metrics, usage, enqueued, cancelled }))
    }

    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// Enqueues a job with one statement, inside the caller's transaction if there is one. Returns `None` if a job with the
    /// same `dedupe_key` waits or runs.
    pub async fn enqueue<A, J: Job<A>>(&self, on: impl Into<Executor<'_>>, job: &J, new: New) -> Result<Option<JobId>> {
        let payload = serde_json::to_value(job).map_err(anyhow::Error::new)?;
        self.insert(on, J::NAME, payload, J::MAX_ATTEMPTS, new).await
    }

    /// Like [`Queue::enqueue`], but checks the function's name and payload; invalid ones are [`Error::BadRequest`].
    pub async fn enqueue_by_name(&self, on: impl Into<Executor<'_>>, function: &str, payload: Value, new: New) -> Result<Option<JobId>> {
        let Some(known) = self.0.catalog.find(function) else {
            return Err(Error::BadRequest(format!("There is no function {function}")));
        };
        known.check(&payload.to_string()).map_err(|error| Error::BadRequest(format!("Arguments of {}: {error}", known.name)))?;
        self.insert(on, known.name, payload, known.max_attempts, new).await
    }

    async fn insert(
        &self,
        on: impl Into<Executor<'_>>,
        function: &'static str,
        payload: Value,
        max_attempts: i32,
        new: New,
    ) -> Result<Option<JobId>> {
        let mut on = on.into();
        let (after, id) = (on.after_commit(), JobId::new());
        // The job's log lines name the request that enqueued it. Spans will be linked by the same column.
        let trace_context = RequestContext::current().map(|context| json!({"request_id": context.request_id}));
        let row = NewRow { id, function, payload, max_attempts, new, trace_context };
        if !store::insert(on, row, &self.0.clock).await? {
            return Ok(None);
        }
        let queue = self.clone();
        after.run(move || {
            queue.metrics().count(function, "enqueued");
            queue.wake();
        });
        Ok(Some(id))
    }

    /// Returns the id of the waiting or running job with this `dedupe_key`.
    pub async fn find_pending(&self, on: impl Into<Executor<'_>>, dedupe_key: &str) -> Result<Option<JobId>> {
        Ok(store::pending(on, dedupe_key).await?)
    }

    pub async fn get(&self, db: &Db, id: JobId) -> Result<Option<JobRow>> {
        Ok(store::by_id(db, id, self.0.clock.now()).await?)
    }

    /// Returns a page of jobs, newest first, and the exact total. Long results are replaced by `{"truncated": true}`.
    pub async fn page(&self, db: &Db, status: Option<Status>, limit: i64, skip: i64) -> Result<(Vec<JobRow>, i64)> {
        Ok(store::page(db, status, limit, skip, self.0.clock.now()).await?)
    }

    /// Enqueues a failed or cancelled job again, as a new job.
    pub async fn retry(&self, db: &Db, id: JobId) -> Result<JobId> {
        let row = self.get(db, id).await?.ok_or_else(|| id.not_found())?;
        match row.state {
            State::Done => return Err(Error::BadRequest("The job has succeeded".to_owned())),
            State::Queued | State::Running => return Err(Error::BadRequest("The job is still waiting or running".to_owned())),
            State::Dead | State::Cancelled => {}
        }
        let payload = serde_json::from_str(&row.kwargs).map_err(|_| Error::BadRequest("The job's arguments cannot be read".to_owned()))?;
        // Prevents concurrent retries of the same job.
        let new = New { dedupe_key: Some(format!("retry:{id}")), owner_id: row.owner_id, ..New::default() };
        let made = self.enqueue_by_name(db, &row.function, payload, new).await?;
        made.ok_or_else(|| Error::BadRequest("The job is being retried already".to_owned()))
    }

    /// Cancels a job: a waiting one at once (`Cancelled`), a running one as soon as its worker learns of it (`InProgress`).
    pub async fn cancel(&self, db: &Db, id: JobId) -> Result<Status> {
        let now = self.0.clock.now();
        match store::cancel(db, id, now).await? {
            Some(State::Running) => {
                // Fails if no worker runs in this process. Other workers learn of the cancellation when they renew the
                // lease.
                let _ = self.0.cancelled.send(id);
                Ok(Status::InProgress)
            }
            Some(_) => Ok(Status::Cancelled),
            None if store::by_id(db, id, now).await?.is_some() => Err(Error::BadRequest("The job has finished already".to_owned())),
            None => Err(id.not_found()),
        }
    }

    /// The number of jobs that are due and not claimed.
    pub async fn waiting(&self, db: &Db) -> Result<i64> {
        Ok(store::waiting(db, &self.0.clock).await?)
    }

    /// Removes a bounded number of finished jobs past their retention; returns how many.
    pub async fn sweep_finished(&self, db: &Db) -> Result<u64> {
        Ok(store::sweep_finished(db, self.0.clock.now()).await?)
    }

    /// Removes every job that holds this user's data, whatever its state.
    pub async fn erase(&self, on: impl Into<Executor<'_>>, owner_id: &UserId) -> Result<u64> {
        Ok(store::erase(on, owner_id).await?)
    }

    /// Wakes the worker of this process, because there may be a job to claim.
    pub(super) fn wake(&self) {
        self.0.enqueued.send_replace(());
    }

    pub(super) fn wakes(&self) -> watch::Receiver<()> {
        self.0.enqueued.subscribe()
    }

    pub(super) fn cancellations(&self) -> broadcast::Receiver<JobId> {
        self.0.cancelled.subscribe()
    }

    /// Refreshes the gauge of waiting jobs.
    pub async fn refresh_metrics(&self, db: &Db) -> Result<()> {
        self.metrics().queue_size.with_label_values(&["default"]).set(self.waiting(db).await?);
        Ok(())
    }

    pub(super) fn metrics(&self) -> &JobMetrics {
        &self.0.metrics
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.0.usage
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }
}
