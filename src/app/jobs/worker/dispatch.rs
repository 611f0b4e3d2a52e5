//! Claims rows for free slots: after an enqueue committed in this process, when a slot becomes free, and at least every
//! `poll`. While the database is down it retries with exponential backoff.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use super::execute;
use super::state::{Held, Place, Slot, State, Ticket};
use crate::app::jobs::backoff::backoff;
use crate::app::jobs::model::{Claim, Outcome};
use crate::app::jobs::store;

pub(super) async fn dispatch(worker: Arc<State>) {
    let _stop_all_if_this_ends = worker.stop.clone().drop_guard();
    let mut wakes = worker.queue.wakes();
    let mut errors = 0;
    while !worker.stop.is_cancelled() {
        wakes.mark_unchanged();
        let claimed = async {
            if errors > 0 {
                // The answer to a claim may have been lost with the connection.
                let held: Vec<_> = worker.held().keys().map(|(id, _)| *id).collect();
                worker.limited(store::release(&worker.db, &worker.id, &held)).await?;
            }
            claim(&worker).await
        };
        match claimed.await {
            Ok(more) => {
                errors = 0;
                if more {
                    continue;
                }
                tokio::select! {
                    () = worker.stop.cancelled() => {}
                    _ = wakes.changed() => {}
                    () = worker.slot_free.notified() => {}
                    () = sleep(worker.settings.poll) => {}
                }
            }
            Err(error) => {
                errors += 1;
                let wait = backoff(Duration::from_millis(100), errors, Duration::from_secs(5));
                tracing::error!(%error, times = errors, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "jobs cannot be claimed");
                tokio::select! {
                    () = worker.stop.cancelled() => {}
                    () = sleep(wait) => {}
                }
            }
        }
    }
}

/// Claims as many rows as there are free slots; returns whether more rows and free slots may remain.
async fn claim(worker: &Arc<State>) -> sqlx::Result<bool> {
    let free = worker.free();
    if free == 0 {
        return Ok(false);
    }
    // Measured before the query, because the lease begins no earlier.
    let until = Instant::now() + worker.settings.lease;
    let lock = format!("{}/{}", worker.id, worker.claims.fetch_add(1, Ordering::Relaxed));
    // Only functions of this binary: a function that a newer version adds waits for that version's worker.
    let known = worker.queue.catalog().names();
    let clock = worker.queue.clock();
    let rows = worker.limited(store::claim(&worker.db, clock, &lock, worker.settings.lease, &known, free)).await?;
    let found = rows.len();
    for row in rows {
        start(worker, row, until);
    }
    Ok(found == free && worker.free() > 0)
}

/// Starts a claimed row's task, and gives apalis a ticket for it.
fn start(worker: &Arc<State>, claim: Claim, until: Instant) {
    let key = (claim.id, claim.lock.clone());
    let (start, started) = oneshot::channel();
    let (report, done) = oneshot::channel();
    let (end, signal) = watch::channel(None);
    let ticket = Ticket { id: claim.id, function: claim.function.clone(), attempt: claim.attempts, start, done };
    {
        let mut held = worker.held();
        // Claimed again while an earlier run is still here, because its lease ran out: the earlier run has to end.
        for (_, old) in held.iter().filter(|((id, _), _)| *id == claim.id) {
            old.end.send_replace(Some(Outcome::lease_lost()));
        }
        held.insert(key.clone(), Held { until, end });
    }
    let place = Place::take(worker);
    let slot = Slot { state: worker.clone(), key };
    worker.holders.spawn(execute::hold(slot, place, claim, signal, started, report));
    // The channel has room, see `free`. If it drops the ticket anyway, the row is put back.
    let _ = worker.tickets.try_send(ticket);
}
