//! Claims rows for free places. Woken by an enqueue that was committed in this process, by a place that gets free, and
//! at least every `poll`. A database that is away is waited for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use super::model::{Claim, End};
use super::runner::Ticket;
use super::worker::{Held, Place, Slot, Worker};
use super::{backoff, owner, store};

pub(super) async fn dispatch(worker: Arc<Worker>) {
    let _stop_all_if_this_ends = worker.stop.clone().drop_guard();
    let mut wakes = worker.queue().wakes();
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

/// Claims what there is room for; says whether there may be more and there is still room.
async fn claim(worker: &Arc<Worker>) -> sqlx::Result<bool> {
    let free = worker.free();
    if free == 0 {
        return Ok(false);
    }
    // Counted from before the question: the lease began no earlier.
    let until = Instant::now() + worker.settings.lease;
    let lock = format!("{}/{}", worker.id, worker.claims.fetch_add(1, Ordering::Relaxed));
    // A function that is new in the next version waits for that version's worker.
    let known = worker.queue().registry().names();
    let clock = worker.queue().clock();
    let rows = worker.limited(store::claim(&worker.db, clock, &lock, worker.settings.lease, &known, free)).await?;
    let found = rows.len();
    for row in rows {
        start(worker, row, until);
    }
    Ok(found == free && worker.free() > 0)
}

/// Gives a claimed row its owner, and apalis a ticket for it.
fn start(worker: &Arc<Worker>, claim: Claim, until: Instant) {
    let key = (claim.id, claim.lock.clone());
    let (start, started) = oneshot::channel();
    let (report, done) = oneshot::channel();
    let (end, told) = watch::channel(None);
    let ticket = Ticket { id: claim.id, function: claim.function.clone(), attempt: claim.attempts, start, done };
    {
        let mut held = worker.held();
        // Claimed again while an old run is still here, for our lease ran out meanwhile: that one has to go.
        for (_, old) in held.iter().filter(|((id, _), _)| *id == claim.id) {
            old.end.send_replace(Some(End::lease_lost()));
        }
        held.insert(key.clone(), Held { until, end });
    }
    let place = Place::take(worker);
    let slot = Slot { worker: worker.clone(), key };
    worker.owners.spawn(owner::own(slot, place, claim, told, started, report));
    // There is room, see `free`; and a ticket that is dropped all the same puts the row back.
    let _ = worker.tickets.try_send(ticket);
}
