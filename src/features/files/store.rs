//! SQL of `files`. The owner stands in every WHERE, but for the keys of permissions that we signed ourselves.

use chrono::{DateTime, Utc};

use super::model::{File, FileId, Status};
use crate::features::users::model::UserId;
use crate::platform::db::{Db, On, Tx, q};
use crate::platform::http::list::Counted;
use crate::sql;

pub async fn insert(on: impl Into<On<'_>>, file: &File) -> sqlx::Result<()> {
    let insert = q(
        on,
        sql!(
            "INSERT INTO files (id, owner_id, key, filename, content_type, size, status, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)"
        ),
    );
    let insert = insert.bind(file.id).bind(file.owner_id.clone()).bind(file.key.clone()).bind(file.filename.clone());
    insert.bind(file.content_type.clone()).bind(file.size).bind(file.status).bind(file.created_at).exec().await?;
    Ok(())
}

pub async fn by_id(on: impl Into<On<'_>>, owner: &UserId, id: FileId) -> sqlx::Result<Option<File>> {
    q(on, sql!("SELECT id, owner_id, key, filename, content_type, size, status, created_at, updated_at FROM files WHERE id = $1 AND owner_id = $2"))
        .bind(id)
        .bind(owner.clone())
        .opt()
        .await
}

/// How the file with this key stands.
pub async fn status(on: impl Into<On<'_>>, key: &str) -> sqlx::Result<Option<Status>> {
    let row: Option<(Status,)> = q(on, sql!("SELECT status FROM files WHERE key = $1")).bind(key.to_owned()).opt().await?;
    Ok(row.map(|(status,)| status))
}

/// As [`status`], and nobody changes the row until the transaction ends.
pub async fn lock(db: &Db, tx: &mut Tx, key: &str) -> sqlx::Result<Option<Status>> {
    // SQLite's writing transaction has the whole file to itself, and knows no FOR UPDATE.
    let text =
        db.pick(sql!(pg: "SELECT status FROM files WHERE key = $1 FOR UPDATE"), sql!(lite: "SELECT status FROM files WHERE key = $1"));
    let row: Option<(Status,)> = q(tx, text).bind(key.to_owned()).opt().await?;
    Ok(row.map(|(status,)| status))
}

/// Notes that the bytes have come, and how many they are; nothing where they had before.
pub async fn set_uploaded(on: impl Into<On<'_>>, owner: &UserId, id: FileId, size: i64, now: DateTime<Utc>) -> sqlx::Result<Option<File>> {
    let set = q(
        on,
        sql!(
            "UPDATE files SET status = 'uploaded', size = $3, updated_at = $4 WHERE id = $1 AND owner_id = $2 AND status = 'pending'
             RETURNING id, owner_id, key, filename, content_type, size, status, created_at, updated_at"
        ),
    );
    let rows: Vec<File> = set.bind(id).bind(owner.clone()).bind(size).bind(now).all().await?;
    Ok(rows.into_iter().next())
}

pub async fn delete(on: impl Into<On<'_>>, owner: &UserId, id: FileId) -> sqlx::Result<bool> {
    let delete = q(on, sql!("DELETE FROM files WHERE id = $1 AND owner_id = $2"));
    Ok(delete.bind(id).bind(owner.clone()).exec().await? == 1)
}

/// A page of the owner's files, newest first, and how many there are.
pub async fn page(db: &Db, owner: &UserId, status: Option<Status>, limit: i64, skip: i64) -> sqlx::Result<(Vec<File>, i64)> {
    let rows = q(
        db,
        sql!(
            "SELECT id, owner_id, key, filename, content_type, size, status, created_at, updated_at,
             (SELECT COUNT(*) FROM files WHERE owner_id = $1 AND (status = $2 OR $2 IS NULL)) AS total
             FROM files WHERE owner_id = $1 AND (status = $2 OR $2 IS NULL) ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4"
        ),
    );
    let rows: Vec<Counted<File>> = rows.bind(owner.clone()).bind(status).bind(limit).bind(skip).all().await?;
    let total = match rows.first() {
        Some(row) => row.total,
        None if skip == 0 => 0,
        None => count(db, owner, status).await?,
    };
    Ok((rows.into_iter().map(|counted| counted.row).collect(), total))
}

async fn count(on: impl Into<On<'_>>, owner: &UserId, status: Option<Status>) -> sqlx::Result<i64> {
    let count = q(on, sql!("SELECT COUNT(*) FROM files WHERE owner_id = $1 AND (status = $2 OR $2 IS NULL)"));
    let (total,): (i64,) = count.bind(owner.clone()).bind(status).one().await?;
    Ok(total)
}

/// Files older than the given one, newest first.
pub async fn page_after(
    on: impl Into<On<'_>>,
    owner: &UserId,
    status: Option<Status>,
    created_at: DateTime<Utc>,
    id: &str,
    limit: i64,
) -> sqlx::Result<Vec<File>> {
    let rows = q(
        on,
        sql!(
            "SELECT id, owner_id, key, filename, content_type, size, status, created_at, updated_at FROM files
             WHERE owner_id = $1 AND (status = $2 OR $2 IS NULL) AND (created_at, id) < ($3, $4) ORDER BY created_at DESC, id DESC LIMIT $5"
        ),
    );
    rows.bind(owner.clone()).bind(status).bind(created_at).bind(id.to_owned()).bind(limit).all().await
}

/// Takes out uploads that nobody has confirmed, a bounded number of them; gives their keys.
pub async fn take_pending(on: impl Into<On<'_>>, before: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<String>> {
    let take = q(
        on,
        sql!(
            "DELETE FROM files WHERE status = 'pending' AND id IN
             (SELECT id FROM files WHERE status = 'pending' AND created_at < $1 ORDER BY created_at LIMIT $2) RETURNING key"
        ),
    );
    let rows: Vec<(String,)> = take.bind(before).bind(limit).all().await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

/// Takes out every file of a user; gives the keys.
pub async fn take_all(on: impl Into<On<'_>>, owner: &str) -> sqlx::Result<Vec<String>> {
    let take = q(on, sql!("DELETE FROM files WHERE owner_id = $1 RETURNING key"));
    let rows: Vec<(String,)> = take.bind(owner.to_owned()).all().await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}
