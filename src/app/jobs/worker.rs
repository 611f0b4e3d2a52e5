//! The worker: what its parts share, its start and its stop.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::finish::Ended;
use super::model::{End, JobId};
use super::runner::{Ticket, Tickets};
use super::{Queue, dispatch, finish, keep, runner, store};
use crate::app::App;
use crate::platform::db::Db;

/// Rows that are done but not yet stored may be held beyond those that run; a database that stores nothing ends the claims here.
const UNSTORED: usize = 512;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Jobs that run at once.
    pub concurrency: usize,
    /// How often an idle worker looks for jobs that another process has enqueued, or whose time has come.
    pub poll: Duration,
    /// How long a row stays ours without renewal.
    pub lease: Duration,
    /// How long running jobs may go on after the signal to stop.
    pub grace: Duration,
}

impl Settings {
    pub fn of(app: &App) -> Self {
        let jobs = &app.config.jobs;
        Self { concurrency: jobs.concurrency, poll: Duration::from_millis(500), lease: jobs.lease, grace: app.config.core.shutdown_grace }
    }
}

/// A claimed row: whose it is, by the clock of this process, and how its owner is told to let go of it.
pub(super) struct Held {
    pub until: Instant,
    pub end: watch::Sender<Option<End>>,
}

/// A row and the lock of one claim on it.
pub(super) type Key = (JobId, String);

/// Runs jobs until it is told to stop.
pub struct Worker {
    pub(super) app: App,
    pub(super) db: Db,
    pub(super) settings: Settings,
    /// New at each start: what an earlier life still holds runs out with its lease.
    pub(super) id: String,
    pub(super) claims: AtomicU64,
    held: Mutex<HashMap<Key, Held>>,
    running: AtomicUsize,
    pub(super) slot_free: Notify,
    pub(super) owners: TaskTracker,
    pub(super) tickets: mpsc::Sender<Ticket>,
    pub(super) ended: mpsc::Sender<Ended>,
    /// Claim no more; running jobs may go on for the grace.
    pub stop: CancellationToken,
    /// End running jobs and put them back.
    pub(super) kill: CancellationToken,
    /// Everything has ended: leases need no more renewal.
    over: CancellationToken,
    receivers: Mutex<Option<(Tickets, mpsc::Receiver<Ended>)>>,
}

/// Takes the row off the list of held rows whatever way its owner ends, so that no lease is renewed for nobody.
pub(super) struct Slot {
    pub worker: Arc<Worker>,
    pub key: Key,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.worker.held().remove(&self.key);
        self.worker.slot_free.notify_one();
    }
}

/// One of the `concurrency` places, while a job runs in it.
pub(super) struct Place(Arc<Worker>);

impl Place {
    pub fn take(worker: &Arc<Worker>) -> Self {
        worker.running.fetch_add(1, Ordering::SeqCst);
        Self(worker.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.slot_free.notify_one();
    }
}

impl Worker {
    pub fn new(app: App, settings: Settings) -> Arc<Self> {
        let (tickets, waiting) = mpsc::channel(settings.concurrency);
        let (ended, endings) = mpsc::channel(settings.concurrency + UNSTORED);
        Arc::new(Self {
            db: app.db.for_queue(),
            app,
            settings,
            id: uuid::Uuid::now_v7().to_string(),
            claims: AtomicU64::default(),
            held: Mutex::default(),
            running: AtomicUsize::default(),
            slot_free: Notify::new(),
            owners: TaskTracker::new(),
            tickets,
            ended,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            over: CancellationToken::new(),
            receivers: Mutex::new(Some((Tickets::new(waiting), endings))),
        })
    }

    /// Works until [`Worker::stop`] is cancelled. Then nothing more is claimed, running jobs get the grace, and what is
    /// still not done is ended and put back into the queue.
    pub async fn run(self: Arc<Self>) -> anyhow::Result<()> {
        let taken = self.receivers.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (tickets, endings) = taken.context("a worker runs once")?;
        let keeping = tokio::spawn(keep::keep(self.clone(), self.over.clone()));
        let dispatching = tokio::spawn(dispatch::dispatch(self.clone()));
        let finishing = tokio::spawn(finish::store_endings(self.clone(), endings, self.over.clone()));
        let drain = async {
            self.stop.cancelled().await;
            // After this nobody starts an owner.
            let dispatched = dispatching.await;
            self.owners.close();
            if timeout(self.settings.grace, self.owners.wait()).await.is_err() {
                tracing::warn!("jobs still run after the grace; they are ended and put back");
                self.kill.cancel();
                self.owners.wait().await;
            }
            dispatched
        };
        let (ran, dispatched) = tokio::join!(runner::run(&self, tickets), drain);
        self.kill.cancel();
        self.over.cancel();
        let (kept, finished) = tokio::join!(keeping, finishing);
        if let Err(error) = self.limited(store::release(&self.db, &self.id, &[])).await {
            tracing::warn!(%error, "jobs were not put back; their leases will run out");
        }
        if self.db.is_postgres() {
            self.db.close().await;
        }
        ran?;
        dispatched?;
        kept?;
        finished?;
        Ok(())
    }

    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.app.jobs
    }

    /// Rows that may be claimed now.
    pub(super) fn free(&self) -> usize {
        let unstored = (self.settings.concurrency + UNSTORED).saturating_sub(self.held().len());
        let places = self.settings.concurrency.saturating_sub(self.running.load(Ordering::SeqCst));
        places.min(unstored).min(self.tickets.capacity())
    }

    /// A database that does not answer is an error too. A query may be dropped midway: see [`store::release`].
    pub(super) async fn limited<T>(&self, query: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        timeout(self.settings.lease / 3, query).await.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }
}
