//! Leases: renews those of held rows, ends a job before its lease expires and another worker may start it, and takes back
//! the rows of lost workers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::state::{Key, State};
use crate::app::jobs::model::Outcome;
use crate::app::jobs::store::{self, Renewed};

/// Maximum interval between renewals. A renewal also reports jobs that were cancelled by another process.
const RENEWAL: Duration = Duration::from_secs(5);

pub(super) async fn keep(worker: Arc<State>, over: CancellationToken) {
    let _stop_all_if_this_ends = worker.stop.clone().drop_guard();
    let every = (worker.settings.lease / 3).min(RENEWAL);
    let mut cancellations = worker.queue.cancellations();
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            cancelled = cancellations.recv() => {
                match cancelled {
                    Ok(id) => worker.held().iter().filter(|((held, _), _)| *held == id).for_each(|(_, held)| {
                        held.end.send_replace(Some(Outcome::Cancelled));
                    }),
                    // The next renewal reports the missed cancellations.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
                continue;
            }
            _ = tick.tick() => {}
        }
        if let Err(error) = renew(&worker).await {
            tracing::warn!(%error, "the leases of running jobs could not be renewed");
        }
        // Leases that may expire before the next turn: end their jobs before another worker may start them.
        let soon = Instant::now() + worker.settings.lease / 3;
        for held in worker.held().values().filter(|held| held.until <= soon) {
            held.end.send_replace(Some(Outcome::lease_lost()));
        }
        match worker.limited(store::take_back(&worker.db, worker.queue.clock())).await {
            Ok(0) => {}
            Ok(rows) => {
                tracing::warn!(rows, "jobs of lost workers taken back");
                worker.queue.wake();
            }
            Err(error) => tracing::warn!(%error, "jobs of lost workers could not be looked for"),
        }
    }
}

async fn renew(worker: &State) -> sqlx::Result<()> {
    let mine: Vec<Key> = worker.held().keys().cloned().collect();
    if mine.is_empty() {
        return Ok(());
    }
    let until = Instant::now() + worker.settings.lease;
    let ids: Vec<_> = mine.iter().map(|(id, _)| *id).collect();
    let renewed = worker.limited(store::renew(&worker.db, &worker.id, worker.settings.lease, &ids)).await?;
    let renewed: HashMap<Key, bool> =
        renewed.into_iter().map(|Renewed { id, lock, cancel_requested }| ((id, lock), cancel_requested)).collect();
    let mut held = worker.held();
    for key in mine {
        // The row may have ended meanwhile.
        let Some(row) = held.get_mut(&key) else { continue };
        match renewed.get(&key) {
            Some(cancelled) => {
                row.until = until;
                if *cancelled {
                    row.end.send_replace(Some(Outcome::Cancelled));
                }
            }
            None => {
                row.end.send_replace(Some(Outcome::lease_lost()));
            }
        }
    }
    Ok(())
}
