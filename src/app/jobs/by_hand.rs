//! One function run here and now, from the command line: a row like any other, but nobody else's and tried once.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use tokio::sync::watch;

use super::model::{End, JobId};
use super::worker::{Settings, Worker};
use super::{New, finish, owner, store};
use crate::app::App;
use crate::platform::error::{Error, Result};

/// Runs the function to its end; gives its row's id, and its result or why it failed.
pub async fn run(app: &App, function: &str, payload: Value) -> Result<(JobId, std::result::Result<Value, String>)> {
    // Not due, so that no worker takes it before we do. Should this process die before it has claimed the row, a worker runs it then.
    let new = New { delay: TimeDelta::hours(1), ..New::default() };
    let id = app.jobs.enqueue_by_name(&app.db, function, payload, new).await?;
    let id = id.ok_or_else(|| anyhow::anyhow!("a job without a dedupe key is always made"))?;
    let limit = app.jobs.registry().find(function).map_or(Duration::ZERO, |function| function.limit);
    let worker = Worker::new(app.clone(), Settings { lease: limit + Duration::from_secs(60), ..Settings::of(app) });
    let lock = format!("{}/0", worker.id);
    let claim = store::claim_one(&app.db, &app.clock, id, &lock, worker.settings.lease).await?;
    let claim = claim.ok_or_else(|| Error::BadRequest("The job was cancelled".to_owned()))?;
    let (_nobody, mut told) = watch::channel(None);
    let end = owner::work(&worker, &claim, &mut told, tracing::Span::none()).await;
    let (ending, _) = finish::ending(&worker, &claim, end.clone());
    store::finish(&app.db, &app.clock, &[ending]).await?;
    Ok((
        id,
        match end {
            End::Done(result) => Ok(result),
            End::Failed(fail) => Err(fail.reason().to_owned()),
            End::Cancelled | End::PutBack => Err("cancelled".to_owned()),
        },
    ))
}
