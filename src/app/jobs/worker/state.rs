//! Shared state of a worker's parts: settings, held rows, slots, channels and signals.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Span;

use crate::app::jobs::config::Config;
use crate::app::jobs::model::{JobId, Outcome};
use crate::app::jobs::queue::Queue;
use crate::app::jobs::registry::Functions;
use crate::app::jobs::store::Ending;
use crate::platform::db::Db;

/// Finished but unstored rows that may be held in addition to the running ones. When the database stores nothing, claims
/// stop at this number.
const UNSTORED: usize = 512;

/// Settings of a worker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Maximum number of jobs that run at once.
    pub concurrency: usize,
    /// How often an idle worker polls for jobs that another process enqueued or that became due.
    pub poll: Duration,
    /// Lease of a claimed row; it expires unless renewed.
    pub lease: Duration,
    /// How long running jobs may go on after the signal to stop.
    pub grace: Duration,
}

impl Settings {
    pub fn new(config: &Config, grace: Duration) -> Self {
        Self { concurrency: config.concurrency, poll: Duration::from_millis(500), lease: config.lease, grace }
    }
}

/// A claimed row: the end of its lease by the clock of this process, and the channel that ends its task.
pub struct Held {
    pub until: Instant,
    pub end: watch::Sender<Option<Outcome>>,
}

/// A row and the lock of one claim on it.
pub type Key = (JobId, String);

/// Shared state of a worker's parts.
pub struct State {
    pub functions: Arc<dyn Functions>,
    pub queue: Queue,
    pub db: Db,
    pub settings: Settings,
    /// Worker id, new at each start. Rows held by an earlier process are taken back when their leases expire.
    pub id: String,
    pub claims: AtomicU64,
    held: Mutex<HashMap<Key, Held>>,
    running: AtomicUsize,
    pub slot_free: Notify,
    /// The tasks that hold claimed rows.
    pub holders: TaskTracker,
    pub tickets: mpsc::Sender<Ticket>,
    pub finished: mpsc::Sender<Finished>,
    /// Claim no more; running jobs may go on for the grace.
    pub stop: CancellationToken,
    /// End running jobs and put them back.
    pub kill: CancellationToken,
}

/// One claimed row, queued for apalis to start.
pub struct Ticket {
    pub id: JobId,
    pub function: String,
    pub attempt: i32,
    /// Starts the row's task, in this span.
    pub start: oneshot::Sender<Span>,
    /// Receives the result when the job is over.
    pub done: oneshot::Receiver<Result<(), String>>,
}

/// An outcome to be stored, and the channel to the task that waits for it.
pub struct Finished {
    pub ending: Ending,
    pub bytes: usize,
    /// Receives whether it was stored: `false` if the job is no longer ours.
    pub stored: oneshot::Sender<bool>,
}

/// Removes the row from the held rows however its task ends, so that no abandoned lease is renewed.
pub struct Slot {
    pub state: Arc<State>,
    pub key: Key,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.state.held().remove(&self.key);
        self.state.slot_free.notify_one();
    }
}

/// One of the `concurrency` slots, occupied while a job runs.
pub struct Place(Arc<State>);

impl Place {
    pub fn take(state: &Arc<State>) -> Self {
        state.running.fetch_add(1, Ordering::SeqCst);
        Self(state.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.slot_free.notify_one();
    }
}

impl State {
    /// Also returns the receiving ends of its channels.
    pub fn new(
        functions: Arc<dyn Functions>,
        queue: Queue,
        db: Db,
        settings: Settings,
    ) -> (Arc<Self>, mpsc::Receiver<Ticket>, mpsc::Receiver<Finished>) {
        let (tickets, waiting) = mpsc::channel(settings.concurrency);
        let (finished, endings) = mpsc::channel(settings.concurrency + UNSTORED);
        let state = Arc::new(Self {
            functions,
            queue,
            db,
            settings,
            id: uuid::Uuid::now_v7().to_string(),
            claims: AtomicU64::default(),
            held: Mutex::default(),
            running: AtomicUsize::default(),
            slot_free: Notify::new(),
            holders: TaskTracker::new(),
            tickets,
            finished,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        });
        (state, waiting, endings)
    }

    pub fn held(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of rows that may be claimed now.
    pub fn free(&self) -> usize {
        let unstored = (self.settings.concurrency + UNSTORED).saturating_sub(self.held().len());
        let places = self.settings.concurrency.saturating_sub(self.running.load(Ordering::SeqCst));
        places.min(unstored).min(self.tickets.capacity())
    }

    /// Runs a query with a time limit of a third of the lease; a timeout is an error. A query may be dropped midway: see
    /// `store::release`.
    pub async fn limited<T>(&self, query: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        timeout(self.settings.lease / 3, query).await.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }
}
