//! Business rules of projects.

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::model::{CreateProject, Project, ProjectId, ProjectRead, ProjectWithSortKey, UpdateProject};
use super::store;
use crate::app::App;
use crate::app::feature::Removed;
use crate::app::news::{Action, Change};
use crate::features::quotas::Quota;
use crate::features::quotas::service::standing;
use crate::platform::actor::CurrentUser;
use crate::platform::db::{Db, Tx};
use crate::platform::error::Result;
use crate::platform::http::list::List;
use crate::platform::http::quota_headers::QuotaState;
use crate::platform::id::{PathId, UserId};
use crate::platform::text::{fold, like_contains};

/// Its kind among the resources that have an owner.
pub const PROJECT: &str = "project";

/// Time a deleted project is kept before it is removed.
const KEEP_DELETED: TimeDelta = TimeDelta::days(30);
/// Page size of the export.
const EXPORT_PAGE: i64 = 500;

/// Creates a project within the quota of the user's plan; returns the state of the quota, too.
pub async fn create(app: &App, tx: &mut Tx, user: &CurrentUser, new: CreateProject) -> Result<(Project, Option<QuotaState>)> {
    let project = project(app, user, new);
    let quota = match standing(app, tx, &user.id, Quota::Projects).await? {
        // Inserted and counted in one round trip: the transaction of a refused request is rolled back.
        Some(allowance) if allowance.is_limited() => {
            let others = store::insert_and_count(&mut *tx, &project).await?;
            Some(allowance.admit(others, 1)?)
        }
        unlimited => {
            store::insert(&mut *tx, &project).await?;
            unlimited.map(|allowance| allowance.admit(0, 1)).transpose()?
        }
    };
    report(app, tx, project.clone(), Action::Created).await?;
    Ok((project, quota))
}

/// Reports a change of a project to the owner's other devices.
async fn report(app: &App, tx: &mut Tx, project: Project, action: Action) -> Result<()> {
    let (owner, id) = (project.owner_id.clone(), project.id.to_string());
    let data = serde_json::to_value(ProjectRead::from(project)).map_err(anyhow::Error::new)?;
    app.changed(tx, &Change { owner, resource: PROJECT, action, id, data: Some(data) }).await
}

fn project(app: &App, user: &CurrentUser, new: CreateProject) -> Project {
    let now = app.clock.now();
    Project {
        id: ProjectId::new(),
        name: new.name,
        description: new.description,
        owner_id: user.id.clone(),
        created_at: now,
        updated_at: now,
    }
}

pub async fn get(app: &App, user: &CurrentUser, id: ProjectId) -> Result<Project> {
    store::by_id(&app.db, &user.id, id).await?.ok_or_else(|| id.not_found())
}

pub async fn update(app: &App, user: &CurrentUser, id: ProjectId, change: UpdateProject) -> Result<Project> {
    if change.name.is_none() && change.description.is_none() {
        return get(app, user, id).await;
    }
    let updated = crate::transaction!(app.db, |tx| {
        let updated = store::update(&mut *tx, &user.id, id, &change, app.clock.now()).await?;
        if let Some(project) = &updated {
            report(app, tx, project.clone(), Action::Updated).await?;
        }
        Ok(updated)
    })?;
    updated.ok_or_else(|| id.not_found())
}

pub async fn delete(app: &App, user: &CurrentUser, id: ProjectId) -> Result<()> {
    crate::transaction!(app.db, |tx| {
        if !store::delete(&mut *tx, &user.id, id, app.clock.now()).await? {
            return Err(id.not_found());
        }
        let (owner, id) = (user.id.clone(), id.to_string());
        app.changed(tx, &Change { owner, resource: PROJECT, action: Action::Deleted, id, data: None }).await
    })
}

/// Whether the user owns the project, and it is not deleted.
pub async fn owns(app: &App, user: &UserId, id: &str) -> Result<bool> {
    match ProjectId::parse(id) {
        Some(id) => Ok(store::by_id(&app.db, user, id).await?.is_some()),
        None => Ok(false),
    }
}

/// The owner's projects, newest first.
pub fn list(owner: &UserId) -> List<Project> {
    store::list(owner)
}

/// The owner's projects whose name contains the text, ordered by name.
pub fn search(owner: &UserId, text: &str) -> List<ProjectWithSortKey> {
    store::search(owner, like_contains(&fold(text)))
}

/// Returns every project of the owner for the data export.
pub async fn export(app: &App, owner: &UserId) -> Result<Map<String, Value>> {
    let mut projects = Vec::new();
    store::list(owner).for_each(&app.db, EXPORT_PAGE, |project| projects.push(ProjectRead::from(project))).await?;
    let projects = serde_json::to_value(projects).map_err(anyhow::Error::new)?;
    Ok([("projects".to_owned(), projects)].into_iter().collect())
}

/// Creates example projects for a user who has none.
pub async fn seed(app: &App, user: &CurrentUser) -> Result<Option<String>> {
    const EXAMPLES: [(&str, Option<&str>); 4] = [
        ("Apollo", Some("To the moon and back")),
        ("Gemini", Some("Two people at once")),
        ("Mercury", None),
        ("Übergang", Some("Letters beyond ASCII, for the search")),
    ];
    if store::list(&user.id).rows(&app.db, 1, 0).await?.1 > 0 {
        return Ok(None);
    }
    for (name, description) in EXAMPLES {
        let new = CreateProject { name: name.to_owned(), description: description.map(str::to_owned) };
        store::insert(&app.db, &project(app, user, new)).await?;
    }
    Ok(Some(format!("{} projects", EXAMPLES.len())))
}

/// Removes a bounded number of projects that were deleted more than `KEEP_DELETED` ago.
pub async fn purge_deleted(app: &App) -> Result<Removed> {
    Ok(Removed::records(store::purge_deleted(&app.db, app.clock.now() - KEEP_DELETED).await?))
}

/// Fills in the folded names of rows that another service wrote.
pub async fn fold_names(db: &Db) -> anyhow::Result<()> {
    loop {
        let rows = store::unfolded(db).await?;
        if rows.is_empty() {
            return Ok(());
        }
        crate::transaction!(db, |tx| {
            for (id, name) in &rows {
                store::set_name_folded(&mut *tx, id, &fold(name)).await?;
            }
            Ok(())
        })?;
    }
}
