//! Asking for one's data, getting it, and having it removed.

use serde_json::Value;

use super::jobs::ExportUserData;
use crate::app::App;
use crate::app::jobs::model::{JobRow, Status};
use crate::app::jobs::{Job, JobId, New};
use crate::features::users::extract::CurrentUser;
use crate::platform::error::{Error, Result};
use crate::platform::http::idempotency;

/// Starts an export; while one is under way, that one is given.
pub async fn request_export(app: &App, user: &CurrentUser) -> Result<JobId> {
    let id = user.id.as_str();
    let dedupe_key = format!("export:{id}");
    // Twice, for the one that is under way may end between the two questions.
    for _ in 0..2 {
        let new = New { dedupe_key: Some(dedupe_key.clone()), owner_id: Some(id.to_owned()), ..New::default() };
        if let Some(job) = app.jobs.enqueue(&app.db, &ExportUserData { user_id: id.to_owned() }, new).await? {
            return Ok(job);
        }
        if let Some(job) = app.jobs.find_pending(&app.db, &dedupe_key).await? {
            return Ok(job);
        }
    }
    Err(Error::Contended)
}

/// The finished document of the caller's own export.
pub async fn export(app: &App, user: &CurrentUser, job_id: &str) -> Result<Value> {
    let not_found = || Error::not_found("Export", job_id);
    let id = JobId::parse(job_id).ok_or_else(not_found)?;
    let own = |row: &JobRow| row.function == ExportUserData::NAME && row.owner_id.as_deref() == Some(user.id.as_str());
    let row = app.jobs.get(&app.db, id).await?.filter(own).ok_or_else(not_found)?;
    let not_there = |message| Error::Conflict { message, resource: "Export" };
    match row.status() {
        Status::Complete => Ok(row.outcome()),
        Status::Failed | Status::Cancelled => Err(not_there("The export did not succeed; ask for a new one")),
        Status::Deferred | Status::Queued | Status::InProgress => Err(not_there("The export is not ready yet")),
    }
}

/// Removes everything that is kept of a user, in one transaction; says how many rows that was.
pub async fn erase(app: &App, user_id: &str) -> Result<u64> {
    let mut tx = app.db.begin().await?;
    let mut rows = 0;
    for feature in app.features.iter().rev() {
        rows += (feature.erase)(app, &mut tx, user_id).await?;
    }
    rows += app.jobs.erase(&mut tx, user_id).await?;
    rows += idempotency::erase(&mut tx, user_id).await?;
    tx.commit().await?;
    tracing::info!(action = "user.erase", target_id = user_id, rows, "user erased");
    Ok(rows)
}
