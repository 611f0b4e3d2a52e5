//! SQL of `projects`. Every WHERE includes the owner, so another user's row is not found.

use chrono::{DateTime, Utc};

use super::model::{Project, ProjectId, ProjectWithSortKey, UpdateProject};
use crate::platform::db::{Executor, Query, query};
use crate::platform::http::list::{Filter, List, ListSql};
use crate::platform::id::UserId;
use crate::platform::text;
use crate::sql;

/// The columns of a [`Project`].
const PROJECT: &str = "id, name, description, owner_id, created_at, updated_at";
/// Inserts a [`Project`].
const INSERT: &str =
    "INSERT INTO projects (id, name, name_folded, description, owner_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)";
/// Condition: the owner's rows that are not deleted.
const OWN: &str = "owner_id = $1 AND deleted_at IS NULL";
/// Condition: `OWN` rows whose folded name matches the pattern.
const FOUND: &str = r"owner_id = $1 AND deleted_at IS NULL AND name_folded LIKE $2 ESCAPE '\'";

pub async fn insert(on: impl Into<Executor<'_>>, project: &Project) -> sqlx::Result<()> {
    bound(query(on, sql!(INSERT)), project).execute().await?;
    Ok(())
}

/// Same as [`insert`]; returns how many other projects the owner has.
pub async fn insert_and_count(on: impl Into<Executor<'_>>, project: &Project) -> sqlx::Result<i64> {
    // Without the new row itself, because the engines differ in whether RETURNING sees it.
    let insert = query(
        on,
        sql!(
            INSERT,
            " RETURNING (SELECT COUNT(*) FROM projects AS others WHERE others.owner_id = $5 AND others.deleted_at IS NULL AND others.id <> $1)"
        ),
    );
    let (others,): (i64,) = bound(insert, project).fetch_one().await?;
    Ok(others)
}

fn bound<'q>(insert: Query<'q>, project: &Project) -> Query<'q> {
    let insert = insert.bind(project.id).bind(&project.name).bind(text::fold(&project.name)).bind(&project.description);
    insert.bind(&project.owner_id).bind(project.created_at)
}

pub async fn by_id(on: impl Into<Executor<'_>>, owner: &UserId, id: ProjectId) -> sqlx::Result<Option<Project>> {
    let row = query(on, sql!("SELECT ", PROJECT, " FROM projects WHERE ", OWN, " AND id = $2"));
    row.bind(owner).bind(id).fetch_optional().await
}

pub async fn update(
    on: impl Into<Executor<'_>>,
    owner: &UserId,
    id: ProjectId,
    change: &UpdateProject,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Project>> {
    let update = query(
        on,
        sql!(
            "UPDATE projects SET name = COALESCE($3, name), name_folded = COALESCE($4, name_folded),
             description = CASE WHEN $5 THEN $6 ELSE description END, updated_at = $7
             WHERE ",
            OWN,
            " AND id = $2 RETURNING ",
            PROJECT
        ),
    );
    let update = update.bind(owner).bind(id).bind(&change.name).bind(change.name.as_deref().map(text::fold));
    let update = update.bind(change.description.is_some()).bind(change.description.as_ref().and_then(Option::as_ref));
    update.bind(now).fetch_optional().await
}

/// Marks the project as deleted; returns whether it existed.
pub async fn delete(on: impl Into<Executor<'_>>, owner: &UserId, id: ProjectId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let delete = query(on, sql!("UPDATE projects SET deleted_at = $3, updated_at = $3 WHERE ", OWN, " AND id = $2"));
    Ok(delete.bind(owner).bind(id).bind(now).execute().await? == 1)
}

/// The owner's projects, newest first.
pub fn list(owner: &UserId) -> List<Project> {
    let sql = ListSql {
        page: sql!(
            "SELECT ",
            PROJECT,
            ", (SELECT COUNT(*) FROM projects WHERE ",
            OWN,
            ") AS total
             FROM projects WHERE ",
            OWN,
            " ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3"
        ),
        count: sql!("SELECT COUNT(*) FROM projects WHERE ", OWN),
        after: sql!(
            "SELECT ",
            PROJECT,
            " FROM projects WHERE ",
            OWN,
            " AND (created_at, id) < ($2, $3)
             ORDER BY created_at DESC, id DESC LIMIT $4"
        ),
    };
    List::newest_first("projects", sql).filter(owner.into())
}

/// The owner's projects whose folded name matches the LIKE pattern, ordered by name.
pub fn search(owner: &UserId, pattern: String) -> List<ProjectWithSortKey> {
    let sql = ListSql {
        page: sql!(
            "SELECT ",
            PROJECT,
            ", name_folded, (SELECT COUNT(*) FROM projects WHERE ",
            FOUND,
            ") AS total
             FROM projects WHERE ",
            FOUND,
            " ORDER BY name_folded, id LIMIT $3 OFFSET $4"
        ),
        count: sql!("SELECT COUNT(*) FROM projects WHERE ", FOUND),
        after: sql!(
            "SELECT ",
            PROJECT,
            ", name_folded FROM projects WHERE ",
            FOUND,
            " AND (name_folded, id) > ($3, $4)
             ORDER BY name_folded, id LIMIT $5"
        ),
    };
    List::by_text("projects", sql).filter(owner.into()).filter(Filter::Text(pattern))
}

/// Returns id and name of up to 500 projects without a folded name (written by another service). Uses a partial index. Ordered by
/// id, so that concurrent instances cannot deadlock.
pub async fn unfolded(on: impl Into<Executor<'_>>) -> sqlx::Result<Vec<(String, String)>> {
    query(on, sql!("SELECT id, name FROM projects WHERE name_folded = '' AND name <> '' ORDER BY id LIMIT 500")).fetch_all().await
}

/// Sets the folded name, unless the project was renamed meanwhile.
pub async fn set_name_folded(on: impl Into<Executor<'_>>, id: &str, folded: &str) -> sqlx::Result<u64> {
    query(on, sql!("UPDATE projects SET name_folded = $2 WHERE id = $1 AND name_folded = ''")).bind(id).bind(folded).execute().await
}

/// Removes up to 1000 rows. Batched, because SQLite has a single writer.
pub async fn purge_deleted(on: impl Into<Executor<'_>>, before: DateTime<Utc>) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM projects WHERE id IN (SELECT id FROM projects WHERE deleted_at < $1 LIMIT 1000)"))
        .bind(before)
        .execute()
        .await
}

/// Removes every row of the owner, deleted or not.
pub async fn erase(on: impl Into<Executor<'_>>, owner: &UserId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM projects WHERE owner_id = $1")).bind(owner).execute().await
}
