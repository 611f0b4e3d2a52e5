//! Requesting a data export, fetching it, and erasing a user's data.

pub mod document;
pub mod removal;

use super::jobs::ExportUserData;
use super::store;
use crate::app::App;
use crate::app::jobs::model::{JobRow, Status};
use crate::app::jobs::{Job, JobId, New};
use crate::features::users;
use crate::platform::actor::{Actor, CurrentUser};
use crate::platform::error::{Error, Result};
use crate::platform::http::idempotency;
use crate::platform::id::UserId;
use crate::platform::telemetry::auth_events::AuthEvent;

/// Enqueues an export; returns the id of the pending export if there is one.
pub async fn request_export(app: &App, user: &CurrentUser) -> Result<JobId> {
    let dedupe_key = format!("export:{}", user.id);
    // Tried twice, because the pending export may end between the two queries.
    for _ in 0..2 {
        let new = New { dedupe_key: Some(dedupe_key.clone()), owner_id: Some(user.id.clone()), ..New::default() };
        if let Some(job) = app.jobs.enqueue(&app.db, &ExportUserData { user_id: user.id.clone() }, new).await? {
            return Ok(job);
        }
        if let Some(job) = app.jobs.find_pending(&app.db, &dedupe_key).await? {
            return Ok(job);
        }
    }
    Err(Error::Contended)
}

/// Returns the document of the caller's own export. 404 for another user's export and for an expired one, 409 until it is complete.
pub async fn export(app: &App, user: &CurrentUser, job_id: &str) -> Result<Vec<u8>> {
    let not_found = || Error::not_found("Export", job_id);
    let id = JobId::parse(job_id).ok_or_else(not_found)?;
    let own = |row: &JobRow| row.function == <ExportUserData as Job<App>>::NAME && row.owner_id.as_ref() == Some(&user.id);
    // The job first: its document is stored before it is complete.
    let job = app.jobs.get(&app.db, id).await?.filter(own);
    if let Some(export) = store::stored(&app.db, id, &user.id, app.clock.now()).await? {
        return document::read(app, export).await?.ok_or_else(not_found);
    }
    let job = job.ok_or_else(not_found)?;
    let not_there = |message| Error::Conflict { message, resource: "Export" };
    match job.status() {
        // Earlier versions kept the document in the result, for an hour; one may still run beside this one.
        Status::Complete => match job.outcome() {
            document if document.get("exported_at").is_some() => Ok(document.to_string().into_bytes()),
            _ => Err(not_found()),
        },
        Status::Failed | Status::Cancelled => Err(not_there("The export did not succeed; request a new one")),
        Status::Deferred | Status::Queued | Status::InProgress => Err(not_there("The export is not ready yet")),
    }
}

/// Removes all data of a user in one transaction; returns the number of rows.
pub async fn erase(app: &App, actor: &Actor, user: &UserId) -> Result<u64> {
    let rows = crate::transaction!(app.db, |tx| {
        // Locked first, so that nothing is made for a user who is being removed.
        users::service::accounts::lock(app, tx, user).await?;
        let mut rows = 0;
        for feature in app.features.iter().rev() {
            rows += feature.erase(app, tx, user).await?;
        }
        rows += app.jobs.erase(&mut *tx, user).await?;
        Ok(rows + idempotency::erase(tx, user).await?)
    });
    let rows = rows?;
    tracing::info!(actor = actor.name(), action = "user.erase", target_id = user.as_str(), rows, "user erased");
    AuthEvent::of_user("user_erase", user).by(actor).succeeded();
    Ok(rows)
}
