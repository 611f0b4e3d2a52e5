//! Start and stop of a worker.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::runner::Tickets;
use super::state::{Finished, Settings, State};
use super::{dispatch, finish, leases, runner};
use crate::app::jobs::queue::Queue;
use crate::app::jobs::registry::{Bound, Code};
use crate::app::jobs::store;
use crate::platform::db::Db;

/// Runs jobs until it is stopped.
pub struct Worker {
    state: Arc<State>,
    /// Cancelled when all jobs have ended: leases need no more renewal.
    over: CancellationToken,
    receivers: Mutex<Option<(Tickets, mpsc::Receiver<Finished>)>>,
}

impl Worker {
    /// `app` is passed to the jobs. The worker uses connections of its own.
    pub fn new<A: Clone + Send + Sync + 'static>(app: A, code: &Code<A>, queue: Queue, db: &Db, settings: Settings) -> Arc<Self> {
        let functions = Arc::new(Bound { app, start: code.0.clone() });
        let (state, waiting, endings) = State::new(functions, queue, db.for_queue(), settings);
        Arc::new(Self { state, over: CancellationToken::new(), receivers: Mutex::new(Some((Tickets::new(waiting), endings))) })
    }

    /// Cancelled to stop the worker; also cancelled if the worker breaks down.
    pub fn stop(&self) -> &CancellationToken {
        &self.state.stop
    }

    /// Works until [`Worker::stop`] is cancelled. Then nothing more is claimed, running jobs get the grace, and jobs that still
    /// run after it are ended and put back into the queue.
    pub async fn run(self: Arc<Self>) -> anyhow::Result<()> {
        let state = &self.state;
        let receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (tickets, endings) = receivers.context("a worker runs once")?;
        let keeping = tokio::spawn(leases::keep(state.clone(), self.over.clone()));
        let dispatching = tokio::spawn(dispatch::dispatch(state.clone()));
        let finishing = tokio::spawn(finish::store_endings(state.clone(), endings, self.over.clone()));
        let drain = async {
            state.stop.cancelled().await;
            // After this no task is started.
            let dispatched = dispatching.await;
            state.holders.close();
            if timeout(state.settings.grace, state.holders.wait()).await.is_err() {
                tracing::warn!("jobs still run after the grace; they are ended and put back");
                state.kill.cancel();
                state.holders.wait().await;
            }
            dispatched
        };
        let (ran, dispatched) = tokio::join!(runner::run(state, tickets), drain);
        state.kill.cancel();
        self.over.cancel();
        let (kept, finished) = tokio::join!(keeping, finishing);
        if let Err(error) = state.limited(store::release(&state.db, &state.id, &[])).await {
            tracing::warn!(%error, "jobs were not put back; their leases will run out");
        }
        if state.db.is_postgres() {
            state.db.close().await;
        }
        ran?;
        dispatched?;
        kept?;
        finished?;
        Ok(())
    }
}
