//! Runs one function from the command line: inserts a job row that no other worker claims, and tries it once.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use tokio::sync::watch;

use super::model::{JobId, New, Outcome};
use super::queue::Queue;
use super::registry::{Bound, Code};
use super::store;
use super::worker::state::{Settings, State};
use super::worker::{execute, finish};
use crate::platform::db::Db;
use crate::platform::error::{Error, Result};

/// Runs the function to its end; returns the row's id, and its result or the failure reason.
pub async fn run<A: Clone + Send + Sync + 'static>(
    app: A,
    code: &Code<A>,
    queue: &Queue,
    db: &Db,
    function: &str,
    payload: Value,
) -> Result<(JobId, std::result::Result<Value, String>)> {
    // Not due, so that no worker claims it first. If this process dies before its claim, a worker runs the job in an hour.
    let new = New { delay: TimeDelta::hours(1), ..New::default() };
    let id = queue.enqueue_by_name(db, function, payload, new).await?;
    let id = id.ok_or_else(|| anyhow::anyhow!("a job without a dedupe key is always made"))?;
    let limit = queue.catalog().find(function).map_or(Duration::ZERO, |function| function.limit);
    let settings = Settings { concurrency: 1, poll: Duration::from_secs(1), lease: limit + Duration::from_secs(60), grace: Duration::ZERO };
    let (worker, _tickets, _endings) = State::new(Arc::new(Bound { app, start: code.0.clone() }), queue.clone(), db.clone(), settings);
    let lock = format!("{}/0", worker.id);
    let claim = store::claim_one(db, queue.clock(), id, &lock, worker.settings.lease).await?;
    let claim = claim.ok_or_else(|| Error::BadRequest("The job was cancelled".to_owned()))?;
    let (_sender, mut signal) = watch::channel(None);
    let outcome = execute::run_claimed(&worker, &claim, &mut signal, tracing::Span::none()).await;
    let (ending, _) = finish::ending(&worker, &claim, outcome.clone());
    store::finish(db, queue.clock(), &[ending]).await?;
    Ok((
        id,
        match outcome {
            Outcome::Done(result) => Ok(result),
            Outcome::Failed(fail) => Err(fail.reason().to_owned()),
            Outcome::Cancelled | Outcome::PutBack => Err("cancelled".to_owned()),
        },
    ))
}
