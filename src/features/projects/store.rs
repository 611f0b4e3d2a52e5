//! SQL of `projects`. The owner stands in every WHERE: a stranger's row is simply not found.

use chrono::{DateTime, Utc};

use super::model::{Found, Project, ProjectId, UpdateProject};
use crate::features::users::model::UserId;
use crate::platform::db::{Db, On, q};
use crate::platform::http::list::Counted;
use crate::platform::text;
use crate::sql;

pub async fn insert(on: impl Into<On<'_>>, project: &Project) -> sqlx::Result<()> {
    let insert = q(
        on,
        sql!(
            "INSERT INTO projects (id, name, name_folded, description, owner_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)"
        ),
    );
    let insert = insert.bind(project.id).bind(project.name.clone()).bind(text::fold(&project.name)).bind(project.description.clone());
    insert.bind(project.owner_id.clone()).bind(project.created_at).exec().await?;
    Ok(())
}

pub async fn by_id(on: impl Into<On<'_>>, owner: &UserId, id: ProjectId) -> sqlx::Result<Option<Project>> {
    q(on, sql!("SELECT id, name, description, owner_id, created_at, updated_at FROM projects WHERE id = $1 AND owner_id = $2 AND deleted_at IS NULL"))
        .bind(id)
        .bind(owner.clone())
        .opt()
        .await
}

pub async fn update(
    on: impl Into<On<'_>>,
    owner: &UserId,
    id: ProjectId,
    change: UpdateProject,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Project>> {
    let folded = change.name.as_deref().map(text::fold);
    q(
        on,
        sql!(
            "UPDATE projects SET name = COALESCE($3, name), name_folded = COALESCE($4, name_folded),
             description = CASE WHEN $5 THEN $6 ELSE description END, updated_at = $7
             WHERE id = $1 AND owner_id = $2 AND deleted_at IS NULL
             RETURNING id, name, description, owner_id, created_at, updated_at"
        ),
    )
    .bind(id)
    .bind(owner.clone())
    .bind(change.name)
    .bind(folded)
    .bind(change.description.is_some())
    .bind(change.description.flatten())
    .bind(now)
    .opt()
    .await
}

/// Marks the project as deleted; says whether there was one.
pub async fn delete(on: impl Into<On<'_>>, owner: &UserId, id: ProjectId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let delete = q(on, sql!("UPDATE projects SET deleted_at = $3, updated_at = $3 WHERE id = $1 AND owner_id = $2 AND deleted_at IS NULL"));
    Ok(delete.bind(id).bind(owner.clone()).bind(now).exec().await? == 1)
}

/// A page, newest first, and how many there are. One statement, but for pages past the end.
pub async fn page(db: &Db, owner: &UserId, limit: i64, skip: i64) -> sqlx::Result<(Vec<Project>, i64)> {
    let rows = q(
        db,
        sql!(
            "SELECT id, name, description, owner_id, created_at, updated_at,
             (SELECT COUNT(*) FROM projects WHERE owner_id = $1 AND deleted_at IS NULL) AS total
             FROM projects WHERE owner_id = $1 AND deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3"
        ),
    );
    let rows: Vec<Counted<Project>> = rows.bind(owner.clone()).bind(limit).bind(skip).all().await?;
    let total = match rows.first() {
        Some(row) => row.total,
        None if skip == 0 => 0,
        None => count(db, owner).await?,
    };
    Ok((rows.into_iter().map(|counted| counted.row).collect(), total))
}

async fn count(on: impl Into<On<'_>>, owner: &UserId) -> sqlx::Result<i64> {
    let (total,): (i64,) =
        q(on, sql!("SELECT COUNT(*) FROM projects WHERE owner_id = $1 AND deleted_at IS NULL")).bind(owner.clone()).one().await?;
    Ok(total)
}

/// Projects older than the given one, newest first.
pub async fn page_after(
    on: impl Into<On<'_>>,
    owner: &UserId,
    created_at: DateTime<Utc>,
    id: &str,
    limit: i64,
) -> sqlx::Result<Vec<Project>> {
    q(
        on,
        sql!(
            "SELECT id, name, description, owner_id, created_at, updated_at FROM projects
             WHERE owner_id = $1 AND deleted_at IS NULL AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4"
        ),
    )
    .bind(owner.clone())
    .bind(created_at)
    .bind(id.to_owned())
    .bind(limit)
    .all()
    .await
}

/// A page of those whose folded name is like the pattern, by name, and how many there are.
pub async fn search(db: &Db, owner: &UserId, pattern: &str, limit: i64, skip: i64) -> sqlx::Result<(Vec<Project>, i64)> {
    let rows = q(
        db,
        sql!(
            r"SELECT id, name, description, owner_id, created_at, updated_at,
             (SELECT COUNT(*) FROM projects WHERE owner_id = $1 AND deleted_at IS NULL AND name_folded LIKE $2 ESCAPE '\') AS total
             FROM projects WHERE owner_id = $1 AND deleted_at IS NULL AND name_folded LIKE $2 ESCAPE '\'
             ORDER BY name_folded, id LIMIT $3 OFFSET $4"
        ),
    );
    let rows: Vec<Counted<Project>> = rows.bind(owner.clone()).bind(pattern.to_owned()).bind(limit).bind(skip).all().await?;
    let total = match rows.first() {
        Some(row) => row.total,
        None if skip == 0 => 0,
        None => count_found(db, owner, pattern).await?,
    };
    Ok((rows.into_iter().map(|counted| counted.row).collect(), total))
}

async fn count_found(on: impl Into<On<'_>>, owner: &UserId, pattern: &str) -> sqlx::Result<i64> {
    let count = q(on, sql!(r"SELECT COUNT(*) FROM projects WHERE owner_id = $1 AND deleted_at IS NULL AND name_folded LIKE $2 ESCAPE '\'"));
    let (total,): (i64,) = count.bind(owner.clone()).bind(pattern.to_owned()).one().await?;
    Ok(total)
}

/// Found projects after the given one, by name.
pub async fn search_after(
    on: impl Into<On<'_>>,
    owner: &UserId,
    pattern: &str,
    name_folded: &str,
    id: &str,
    limit: i64,
) -> sqlx::Result<Vec<Found>> {
    q(
        on,
        sql!(
            r"SELECT id, name, description, owner_id, created_at, updated_at, name_folded FROM projects
             WHERE owner_id = $1 AND deleted_at IS NULL AND name_folded LIKE $2 ESCAPE '\' AND (name_folded, id) > ($3, $4)
             ORDER BY name_folded, id LIMIT $5"
        ),
    )
    .bind(owner.clone())
    .bind(pattern.to_owned())
    .bind(name_folded.to_owned())
    .bind(id.to_owned())
    .bind(limit)
    .all()
    .await
}

/// Some projects whose search form another service left empty: id and name. A partial index holds only those. In order,
/// so that two instances that fill at once cannot lock each other out.
pub async fn unfolded(on: impl Into<On<'_>>) -> sqlx::Result<Vec<(String, String)>> {
    q(on, sql!("SELECT id, name FROM projects WHERE name_folded = '' AND name <> '' ORDER BY id LIMIT 500")).all().await
}

/// Unless somebody has renamed the project meanwhile.
pub async fn set_name_folded(on: impl Into<On<'_>>, id: String, folded: String) -> sqlx::Result<u64> {
    q(on, sql!("UPDATE projects SET name_folded = $2 WHERE id = $1 AND name_folded = ''")).bind(id).bind(folded).exec().await
}

/// A thousand at a time: the writer of SQLite is everybody's.
pub async fn purge_deleted(on: impl Into<On<'_>>, before: DateTime<Utc>) -> sqlx::Result<u64> {
    q(on, sql!("DELETE FROM projects WHERE id IN (SELECT id FROM projects WHERE deleted_at < $1 LIMIT 1000)")).bind(before).exec().await
}

/// Everything of the owner's, deleted or not.
pub async fn erase(on: impl Into<On<'_>>, owner: &str) -> sqlx::Result<u64> {
    q(on, sql!("DELETE FROM projects WHERE owner_id = $1")).bind(owner.to_owned()).exec().await
}
