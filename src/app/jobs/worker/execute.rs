//! Executes one claimed row: waits until apalis lets it start, runs the job in a task of its own, and ends only when the
//! row's outcome is stored or the row is no longer ours.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument, Span};

use super::finish;
use super::state::{Place, Slot, State};
use crate::app::jobs::fail::Fail;
use crate::app::jobs::model::{Claim, Outcome, Run};
use crate::platform::telemetry::context::JobContext;

/// How long an aborted job may take to end before an error is logged.
const ABORT: Duration = Duration::from_secs(1);

pub async fn hold(
    slot: Slot,
    place: Place,
    claim: Claim,
    mut signal: watch::Receiver<Option<Outcome>>,
    started: oneshot::Receiver<Span>,
    report: oneshot::Sender<Result<(), String>>,
) {
    let worker = slot.state.clone();
    let end = tokio::select! {
        biased;
        end = signalled(&mut signal) => end,
        () = worker.stop.cancelled() => Outcome::PutBack,
        span = started => match span {
            Ok(span) => run_claimed(&worker, &claim, &mut signal, span).await,
            Err(_) => Outcome::PutBack,
        },
    };
    // The job is over: another job may start while this outcome is being stored.
    drop(place);
    let _ = report.send(match &end {
        Outcome::Failed(fail) => Err(fail.reason().to_owned()),
        _ => Ok(()),
    });
    finish::store(&worker, &claim, end).await;
    drop(slot);
}

/// Waits for an outcome that is decided elsewhere: a cancellation, a lost lease.
async fn signalled(signal: &mut watch::Receiver<Option<Outcome>>) -> Outcome {
    match signal.wait_for(Option::is_some).await {
        Ok(end) => end.clone().unwrap_or_else(Outcome::lease_lost),
        Err(_) => Outcome::lease_lost(),
    }
}

pub async fn run_claimed(worker: &State, claim: &Claim, signal: &mut watch::Receiver<Option<Outcome>>, span: Span) -> Outcome {
    let Some(function) = worker.queue.catalog().find(&claim.function) else { return Outcome::PutBack };
    let (name, limit, metrics) = (function.name, function.limit, worker.queue.metrics());
    let (enqueue_time, owner_id) = (claim.enqueue_time, claim.owner_id.clone());
    let run = Run { id: claim.id, attempt: claim.attempts, enqueue_time, owner_id };
    let Some(attempt) = worker.functions.start(name, run, &claim.kwargs) else { return Outcome::PutBack };
    metrics.count(name, "started");
    let began = Instant::now();
    let context = JobContext { job_id: claim.id.to_string(), function: name, attempt: claim.attempts, request_id: claim.request_id() };
    let mut task = tokio::spawn(context.scope(attempt).instrument(span));
    let end = tokio::select! {
        biased;
        result = &mut task => match result {
            Ok(Ok(result)) => Outcome::Done(result),
            Ok(Err(fail)) => Outcome::Failed(fail),
            Err(error) => Outcome::Failed(Fail::Retry(match error.try_into_panic() {
                Ok(panic) => format!("panic: {}", message(panic.as_ref())),
                Err(error) => error.to_string(),
            })),
        },
        end = signalled(signal) => end,
        () = worker.kill.cancelled() => Outcome::PutBack,
        () = sleep(limit) => Outcome::Failed(Fail::Retry(format!("time limit of {} s", limit.as_secs_f64()))),
    };
    // The row may change only after the job has ended. Code that blocks its thread cannot be aborted.
    if !task.is_finished() {
        task.abort();
        if timeout(ABORT, task).await.is_err() {
            tracing::error!(job_id = %claim.id, function = name, "the job blocks its thread and cannot be ended");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    metrics.observe(name, seconds);
    log(claim, &end, seconds);
    match &end {
        Outcome::Done(_) => metrics.count(name, "completed"),
        Outcome::Failed(_) => metrics.count(name, "failed"),
        Outcome::Cancelled | Outcome::PutBack => {}
    }
    end
}

fn log(claim: &Claim, end: &Outcome, seconds: f64) {
    let (id, function, attempt) = (claim.id, claim.function.as_str(), claim.attempts);
    let duration_ms = (seconds * 100_000.0).round() / 100.0;
    match end {
        Outcome::Done(_) => tracing::info!(job_id = %id, function, attempt, duration_ms, "job completed"),
        Outcome::Failed(Fail::Dead(reason)) => tracing::error!(job_id = %id, function, attempt, duration_ms, reason, "job failed for good"),
        Outcome::Failed(Fail::Retry(reason) | Fail::RetryAfter(reason, _)) if claim.attempts >= claim.max_attempts => {
            tracing::error!(job_id = %id, function, attempt, duration_ms, reason, "job failed at its last attempt");
        }
        Outcome::Failed(Fail::Retry(reason) | Fail::RetryAfter(reason, _)) => {
            tracing::warn!(job_id = %id, function, attempt, duration_ms, reason, "job failed, will be tried again");
        }
        Outcome::Cancelled => tracing::info!(job_id = %id, function, attempt, duration_ms, "job cancelled"),
        Outcome::PutBack => tracing::info!(job_id = %id, function, attempt, duration_ms, "job put back"),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
