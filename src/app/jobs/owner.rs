//! Holds one claimed row: waits until apalis lets it start, runs the job in a task of its own, and leaves only when the
//! row's end is stored or the row is no longer ours.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument, Span};

use super::Fail;
use super::finish;
use super::model::{Claim, End, Run};
use super::worker::{Place, Slot, Worker};
use crate::platform::telemetry::context::JobContext;
use crate::platform::telemetry::metrics::METRICS;

/// How long a job that was told to end may take to do so before it is reported.
const ABORT: Duration = Duration::from_secs(1);

pub(super) async fn own(
    slot: Slot,
    place: Place,
    claim: Claim,
    mut told: watch::Receiver<Option<End>>,
    started: oneshot::Receiver<Span>,
    report: oneshot::Sender<Result<(), String>>,
) {
    let worker = slot.worker.clone();
    let end = tokio::select! {
        biased;
        end = heard(&mut told) => end,
        () = worker.stop.cancelled() => End::PutBack,
        span = started => match span {
            Ok(span) => work(&worker, &claim, &mut told, span).await,
            Err(_) => End::PutBack,
        },
    };
    // The job is over: another one may start while this one's end is being stored.
    drop(place);
    let _ = report.send(match &end {
        End::Failed(fail) => Err(fail.reason().to_owned()),
        _ => Ok(()),
    });
    finish::store(&worker, &claim, end).await;
    drop(slot);
}

/// What somebody else decided about the row.
async fn heard(told: &mut watch::Receiver<Option<End>>) -> End {
    match told.wait_for(Option::is_some).await {
        Ok(end) => end.clone().unwrap_or_else(End::lease_lost),
        Err(_) => End::lease_lost(),
    }
}

pub(super) async fn work(worker: &Worker, claim: &Claim, told: &mut watch::Receiver<Option<End>>, span: Span) -> End {
    let Some(function) = worker.queue().registry().find(&claim.function).cloned() else { return End::PutBack };
    let name = function.name;
    METRICS.background_jobs.with_label_values(&[name, "started"]).inc();
    let began = Instant::now();
    let run = Run { id: claim.id, attempt: claim.attempts, enqueue_time: claim.enqueue_time };
    let context = JobContext { job_id: claim.id.to_string(), function: name, attempt: claim.attempts };
    let (app, payload, limit) = (worker.app.clone(), claim.kwargs.clone(), function.limit);
    let mut task = tokio::spawn(async move { context.scope(async { function.start(app, run, &payload).await }).await }.instrument(span));
    let end = tokio::select! {
        biased;
        result = &mut task => match result {
            Ok(Ok(result)) => End::Done(result),
            Ok(Err(fail)) => End::Failed(fail),
            Err(error) => End::Failed(Fail::Retry(match error.try_into_panic() {
                Ok(panic) => format!("panic: {}", message(panic.as_ref())),
                Err(error) => error.to_string(),
            })),
        },
        end = heard(told) => end,
        () = worker.kill.cancelled() => End::PutBack,
        () = sleep(limit) => End::Failed(Fail::Retry(format!("time limit of {} s", limit.as_secs_f64()))),
    };
    // Only when the job is gone may its row go on. Code that blocks its thread cannot be ended from outside.
    if !task.is_finished() {
        task.abort();
        if timeout(ABORT, task).await.is_err() {
            tracing::error!(job_id = %claim.id, function = name, "the job blocks its thread and cannot be ended");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    METRICS.background_job_duration.with_label_values(&[name]).observe(seconds);
    log(claim, &end, seconds);
    match &end {
        End::Done(_) => METRICS.background_jobs.with_label_values(&[name, "completed"]).inc(),
        End::Failed(_) => METRICS.background_jobs.with_label_values(&[name, "failed"]).inc(),
        End::Cancelled | End::PutBack => {}
    }
    end
}

fn log(claim: &Claim, end: &End, seconds: f64) {
    let (id, function, attempt) = (claim.id, claim.function.as_str(), claim.attempts);
    let duration_ms = (seconds * 100_000.0).round() / 100.0;
    match end {
        End::Done(_) => tracing::info!(job_id = %id, function, attempt, duration_ms, "job completed"),
        End::Failed(Fail::Dead(reason)) => tracing::error!(job_id = %id, function, attempt, duration_ms, reason, "job failed for good"),
        End::Failed(Fail::Retry(reason) | Fail::RetryAfter(reason, _)) if claim.attempts >= claim.max_attempts => {
            tracing::error!(job_id = %id, function, attempt, duration_ms, reason, "job failed at its last attempt");
        }
        End::Failed(Fail::Retry(reason) | Fail::RetryAfter(reason, _)) => {
            tracing::warn!(job_id = %id, function, attempt, duration_ms, reason, "job failed, will be tried again");
        }
        End::Cancelled => tracing::info!(job_id = %id, function, attempt, duration_ms, "job cancelled"),
        End::PutBack => tracing::info!(job_id = %id, function, attempt, duration_ms, "job put back"),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
