//! Rules about projects.

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::model::{CreateProject, Found, Project, ProjectId, UpdateProject};
use super::store;
use crate::app::App;
use crate::app::feature::Removed;
use crate::features::users::model::UserId;
use crate::platform::db::{Db, On};
use crate::platform::error::{Error, Result};
use crate::platform::http::cursor::Position;
use crate::platform::http::list::{end_of_time, time_of};
use crate::platform::text::{fold, like_contains};

/// How long a deleted project can be brought back.
const KEEP_DELETED: TimeDelta = TimeDelta::days(30);
/// Projects read at once for an export.
const EXPORT_PAGE: i64 = 500;

/// Makes a project; `on` is the transaction of the request's idempotency key, if it has one.
pub async fn create(app: &App, on: On<'_>, owner: &UserId, new: CreateProject) -> Result<Project> {
    let now = app.clock.now();
    let project = Project {
        id: ProjectId::new(),
        name: new.name,
        description: new.description,
        owner_id: owner.clone(),
        created_at: now,
        updated_at: now,
    };
    store::insert(on, &project).await?;
    Ok(project)
}

pub async fn get(app: &App, owner: &UserId, id: &str) -> Result<Project> {
    match ProjectId::parse(id) {
        Some(known) => store::by_id(&app.db, owner, known).await?.ok_or_else(|| not_found(id)),
        None => Err(not_found(id)),
    }
}

pub async fn update(app: &App, owner: &UserId, id: &str, change: UpdateProject) -> Result<Project> {
    if change.name.is_none() && change.description.is_none() {
        return get(app, owner, id).await;
    }
    let known = ProjectId::parse(id).ok_or_else(|| not_found(id))?;
    store::update(&app.db, owner, known, change, app.clock.now()).await?.ok_or_else(|| not_found(id))
}

pub async fn delete(app: &App, owner: &UserId, id: &str) -> Result<()> {
    let known = ProjectId::parse(id).ok_or_else(|| not_found(id))?;
    if store::delete(&app.db, owner, known, app.clock.now()).await? { Ok(()) } else { Err(not_found(id)) }
}

/// Newest first, with the exact total.
pub async fn page(app: &App, owner: &UserId, limit: i64, skip: i64) -> Result<(Vec<Project>, i64)> {
    Ok(store::page(&app.db, owner, limit, skip).await?)
}

/// Newest first after a position: one row more than `limit`, if there is one.
pub async fn page_after(app: &App, owner: &UserId, position: Option<Position>, limit: i64) -> Result<Vec<Project>> {
    let (created_at, id) = match &position {
        Some(position) => (time_of(position)?, position.id.as_str()),
        None => (end_of_time(), ""),
    };
    Ok(store::page_after(&app.db, owner, created_at, id, limit + 1).await?)
}

/// Those whose name contains the text, by name, with the exact total.
pub async fn search(app: &App, owner: &UserId, text: &str, limit: i64, skip: i64) -> Result<(Vec<Project>, i64)> {
    Ok(store::search(&app.db, owner, &like_contains(&fold(text)), limit, skip).await?)
}

/// As [`search`] after a position: one row more than `limit`, if there is one.
pub async fn search_after(app: &App, owner: &UserId, text: &str, position: Option<Position>, limit: i64) -> Result<Vec<Found>> {
    let position = position.unwrap_or(Position { key: String::new(), id: String::new() });
    Ok(store::search_after(&app.db, owner, &like_contains(&fold(text)), &position.key, &position.id, limit + 1).await?)
}

/// Every live project of the owner, for their copy of it.
pub async fn export(app: &App, owner: &str) -> Result<Map<String, Value>> {
    let mut projects = Vec::new();
    let Some(owner) = UserId::parse(owner) else { return Ok(Map::new()) };
    let (mut created_at, mut id) = (end_of_time(), String::new());
    loop {
        let page = store::page_after(&app.db, &owner, created_at, &id, EXPORT_PAGE).await?;
        let Some(last) = page.last() else { break };
        (created_at, id) = (last.created_at, last.id.to_string());
        for project in &page {
            projects.push(serde_json::to_value(project).map_err(anyhow::Error::new)?);
        }
    }
    Ok([("projects".to_owned(), Value::Array(projects))].into_iter().collect())
}

/// A few projects for somebody who has none.
pub async fn seed(app: &App, owner: &str) -> Result<Option<String>> {
    const EXAMPLES: [(&str, Option<&str>); 4] = [
        ("Apollo", Some("To the moon and back")),
        ("Gemini", Some("Two people at once")),
        ("Mercury", None),
        ("Übergang", Some("Letters beyond ASCII, for the search")),
    ];
    let Some(owner) = UserId::parse(owner) else { return Ok(None) };
    if store::page(&app.db, &owner, 1, 0).await?.1 > 0 {
        return Ok(None);
    }
    for (name, description) in EXAMPLES {
        let new = CreateProject { name: name.to_owned(), description: description.map(str::to_owned) };
        create(app, (&app.db).into(), &owner, new).await?;
    }
    Ok(Some(format!("{} projects", EXAMPLES.len())))
}

/// Removes projects for good that were deleted long enough ago, a bounded number at a time.
pub async fn purge_deleted(app: &App) -> Result<Removed> {
    Ok(Removed { records: store::purge_deleted(&app.db, app.clock.now() - KEEP_DELETED).await?, bytes: 0 })
}

/// Fills the search form of names that another service wrote.
pub async fn fold_names(db: Db) -> anyhow::Result<()> {
    loop {
        let rows = store::unfolded(&db).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut tx = db.begin().await?;
        for (id, name) in rows {
            store::set_name_folded(&mut tx, id, fold(&name)).await?;
        }
        tx.commit().await?;
    }
}

fn not_found(id: &str) -> Error {
    Error::not_found("Project", id)
}
