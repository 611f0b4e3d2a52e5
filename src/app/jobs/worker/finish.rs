//! Stores the outcomes of jobs in batches, one statement each. An outcome is retried until it is stored or this worker no
//! longer holds its row. An outcome that the database refuses does not delay the others.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::state::{Finished, State};
use crate::app::jobs::backoff::backoff;
use crate::app::jobs::fail::Fail;
use crate::app::jobs::model::{Claim, JobId, Outcome};
use crate::app::jobs::store::{self, Ending};
use crate::platform::db::is_temporary;
use crate::platform::json;
use crate::platform::text::cut;
use crate::platform::usage::{Labels, Metric};

/// Maximum batch per statement, in outcomes and in bytes of results.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 1 << 20;
/// Largest result that is stored, in bytes.
const RESULT_BYTES: usize = 32 << 20;
/// Longest failure reason that is stored, in characters.
const REASON: usize = 2000;
/// Attempts to store an outcome once the shutdown grace is over; then the lease has to run out.
const LAST_TRIES: u32 = 5;

/// Queues the outcome and waits until it is stored or given up. The user's job counts once it is stored as finished.
pub async fn store(worker: &State, claim: &Claim, end: Outcome) {
    let (ending, bytes) = ending(worker, claim, end);
    let finished = matches!(ending.state, "done" | "dead");
    let (stored, waiting) = oneshot::channel();
    // Both fail only if the storing task has ended; then the lease runs out.
    if worker.finished.send(Finished { ending, bytes, stored }).await.is_err() || waiting.await != Ok(true) || !finished {
        return;
    }
    if let (Some(owner), Some(function)) = (&claim.owner_id, worker.queue.catalog().find(&claim.function)) {
        let labels: Labels = [format!("job:{}", function.name)].into();
        worker.queue.usage().record(Some(owner), Metric::BackgroundJobs, 1, &labels);
    }
}

pub fn ending(worker: &State, claim: &Claim, end: Outcome) -> (Ending, usize) {
    let new = |state| Ending::new(claim.id, claim.lock.clone(), state);
    let now = worker.queue.clock().now();
    let mut bytes = 0;
    let mut ending = match end {
        Outcome::Done(result) => {
            bytes = result.to_string().len();
            if bytes > RESULT_BYTES {
                bytes = 0;
                failed(new("dead"), &format!("the result is larger than {RESULT_BYTES} bytes"))
            } else {
                Ending { success: Some(true), result: Some(json::storable(result)), ..new("done") }
            }
        }
        Outcome::Cancelled => new("cancelled"),
        Outcome::PutBack => Ending { given_back: 1, ..new("queued") },
        Outcome::Failed(Fail::Dead(reason)) => failed(new("dead"), &reason),
        Outcome::Failed(Fail::Retry(reason) | Fail::RetryAfter(reason, _)) if claim.attempts >= claim.max_attempts => {
            failed(new("dead"), &reason)
        }
        Outcome::Failed(Fail::RetryAfter(reason, after)) => {
            Ending { success: None, ..failed(new("queued"), &reason) }.again_after(after, now)
        }
        Outcome::Failed(Fail::Retry(reason)) => {
            let delay = backoff(Duration::from_secs(1), claim.attempts.unsigned_abs(), Duration::from_secs(60));
            Ending { success: None, ..failed(new("queued"), &reason) }.again_after(delay, now)
        }
    };
    ending.error = ending.error.map(|error| cut(&error.replace('\0', ""), REASON).to_owned());
    (ending, bytes)
}

fn failed(ending: Ending, reason: &str) -> Ending {
    Ending { success: Some(false), error: Some(reason.to_owned()), ..ending }
}

/// Stores arriving outcomes until `over` is cancelled.
pub(super) async fn store_endings(worker: Arc<State>, mut arriving: mpsc::Receiver<Finished>, over: CancellationToken) {
    let mut kept_back = None;
    loop {
        let first = match kept_back.take() {
            Some(ended) => ended,
            None => match over.run_until_cancelled(arriving.recv()).await.flatten() {
                Some(ended) => ended,
                None => return,
            },
        };
        let (group, rest) = gather(first, &mut arriving);
        kept_back = rest;
        store_group(&worker, group).await;
    }
}

/// Collects `first` and further outcomes into one batch; also returns the outcome that did not fit. A batch holds a row at
/// most once, because a row's lost run and its next run may end together.
fn gather(first: Finished, arriving: &mut mpsc::Receiver<Finished>) -> (Vec<Finished>, Option<Finished>) {
    let mut ids = HashSet::from([first.ending.id]);
    let mut bytes = first.bytes;
    let mut group = vec![first];
    while group.len() < GROUP {
        let Ok(next) = arriving.try_recv() else { break };
        bytes += next.bytes;
        if bytes > GROUP_BYTES || !ids.insert(next.ending.id) {
            return (group, Some(next));
        }
        group.push(next);
    }
    (group, None)
}

async fn store_group(worker: &Arc<State>, group: Vec<Finished>) {
    let (endings, waiting): (Vec<Ending>, Vec<oneshot::Sender<bool>>) = group.into_iter().map(|ended| (ended.ending, ended.stored)).unzip();
    for tries in 1.. {
        match attempt(worker, &endings).await {
            Ok(stored) => {
                for (ending, waiting) in endings.iter().zip(waiting) {
                    acknowledge(ending, waiting, &stored);
                }
                return;
            }
            Err(error) if is_temporary(&error) => {
                if !wait(worker, &error, tries).await {
                    return;
                }
            }
            // The database refuses one of them: store each separately.
            Err(_) => break,
        }
    }
    for (ending, waiting) in endings.into_iter().zip(waiting) {
        let worker = worker.clone();
        tokio::spawn(async move { store_alone(&worker, ending, waiting).await });
    }
}

/// Stores one outcome. If the database refuses it, its result is dropped; other errors are retried.
async fn store_alone(worker: &Arc<State>, mut ending: Ending, waiting: oneshot::Sender<bool>) {
    for tries in 1.. {
        match attempt(worker, std::slice::from_ref(&ending)).await {
            Ok(stored) => return acknowledge(&ending, waiting, &stored),
            Err(error) => {
                if !is_temporary(&error) && ending.result.as_ref().is_some_and(|result| *result != Value::Null) {
                    ending.result = None;
                    ending.error = Some("the result could not be stored".to_owned());
                    continue;
                }
                if !wait(worker, &error, tries).await {
                    return;
                }
            }
        }
    }
}

async fn attempt(worker: &State, endings: &[Ending]) -> sqlx::Result<Vec<JobId>> {
    worker.limited(store::finish(&worker.db, worker.queue.clock(), endings)).await
}

/// Waits before the next attempt; returns `false` if there is none.
async fn wait(worker: &State, error: &sqlx::Error, tries: u32) -> bool {
    if tries >= LAST_TRIES && worker.kill.is_cancelled() {
        tracing::error!(%error, "the end of a job is not stored; its lease will run out");
        return false;
    }
    tracing::error!(%error, tries, "the end of a job could not be stored");
    sleep(backoff(Duration::from_millis(50), tries, Duration::from_secs(5))).await;
    true
}

fn acknowledge(ending: &Ending, waiting: oneshot::Sender<bool>, stored: &[JobId]) {
    let stored = stored.contains(&ending.id);
    if !stored {
        tracing::warn!(job_id = %ending.id, state = ending.state, "the job is no longer ours, its end is not stored");
    }
    // Fails if the row's task has ended meanwhile.
    let _ = waiting.send(stored);
}
