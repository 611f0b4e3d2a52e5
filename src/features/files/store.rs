//! SQL of `files`. Every WHERE includes the owner, except where the key comes from a signed token.

use chrono::{DateTime, Utc};

use super::model::{File, FileId, FileStatus};
use crate::platform::db::{Db, Executor, Tx, query};
use crate::platform::http::list::{Filter, List, ListSql};
use crate::platform::id::UserId;
use crate::sql;

/// The columns of a [`File`].
const FILE: &str = "id, owner_id, key, filename, content_type, size, status, created_at, updated_at";
/// Condition: the owner's rows, optionally of one status.
const OWN: &str = "owner_id = $1 AND (status = $2 OR $2 IS NULL)";

pub async fn insert(on: impl Into<Executor<'_>>, file: &File) -> sqlx::Result<()> {
    let insert = query(
        on,
        sql!(
            "INSERT INTO files (id, owner_id, key, filename, content_type, size, status, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)"
        ),
    );
    let insert = insert.bind(file.id).bind(&file.owner_id).bind(&file.key).bind(&file.filename);
    insert.bind(&file.content_type).bind(file.size).bind(file.status).bind(file.created_at).execute().await?;
    Ok(())
}

pub async fn by_id(on: impl Into<Executor<'_>>, owner: &UserId, id: FileId) -> sqlx::Result<Option<File>> {
    query(on, sql!("SELECT ", FILE, " FROM files WHERE id = $1 AND owner_id = $2")).bind(id).bind(owner).fetch_optional().await
}

/// Returns the status of the file with this key.
pub async fn status(on: impl Into<Executor<'_>>, key: &str) -> sqlx::Result<Option<FileStatus>> {
    let row: Option<(FileStatus,)> = query(on, sql!("SELECT status FROM files WHERE key = $1")).bind(key).fetch_optional().await?;
    Ok(row.map(|(status,)| status))
}

/// Same as [`status`], but locks the row until the transaction ends.
pub async fn lock(db: &Db, tx: &mut Tx, key: &str) -> sqlx::Result<Option<FileStatus>> {
    // SQLite has no FOR UPDATE: a write transaction locks the whole database.
    let text =
        db.pick(sql!(pg: "SELECT status FROM files WHERE key = $1 FOR UPDATE"), sql!(lite: "SELECT status FROM files WHERE key = $1"));
    let row: Option<(FileStatus,)> = query(tx, text).bind(key).fetch_optional().await?;
    Ok(row.map(|(status,)| status))
}

/// What a user's new file is checked against.
#[derive(Debug, sqlx::FromRow)]
pub struct Held {
    /// Number of pending files.
    pub pending_files: i64,
    /// Declared bytes of pending files.
    pub pending_bytes: i64,
    /// Bytes of all files, pending ones as declared; 0 unless asked for.
    pub bytes: i64,
}

/// Returns what a user holds. The sum of all files reads the index entry of each, so it is asked for only where it is needed.
pub async fn held(on: impl Into<Executor<'_>>, owner: &UserId, with_sum: bool) -> sqlx::Result<Held> {
    let count = sql!(
        "SELECT COUNT(*) AS pending_files, CAST(COALESCE(SUM(size), 0) AS BIGINT) AS pending_bytes,
         CASE WHEN $2 THEN (SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM files WHERE owner_id = $1) ELSE 0 END AS bytes
         FROM files WHERE owner_id = $1 AND status = 'pending'"
    );
    query(on, count).bind(owner).bind(with_sum).fetch_one().await
}

/// Bytes of the owner's confirmed files.
pub async fn stored_bytes(on: impl Into<Executor<'_>>, owner: &UserId) -> sqlx::Result<i64> {
    let sum = sql!("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM files WHERE owner_id = $1 AND status = 'uploaded'");
    let (bytes,): (i64,) = query(on, sum).bind(owner).fetch_one().await?;
    Ok(bytes)
}

/// Marks the file as uploaded and stores its size; `None` if it was marked before.
pub async fn set_uploaded(
    on: impl Into<Executor<'_>>,
    owner: &UserId,
    id: FileId,
    size: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<File>> {
    let set = query(
        on,
        sql!(
            "UPDATE files SET status = 'uploaded', size = $3, updated_at = $4 WHERE id = $1 AND owner_id = $2 AND status = 'pending'
             RETURNING ",
            FILE
        ),
    );
    let rows: Vec<File> = set.bind(id).bind(owner).bind(size).bind(now).fetch_all().await?;
    Ok(rows.into_iter().next())
}

pub async fn delete(on: impl Into<Executor<'_>>, owner: &UserId, id: FileId) -> sqlx::Result<bool> {
    let delete = query(on, sql!("DELETE FROM files WHERE id = $1 AND owner_id = $2"));
    Ok(delete.bind(id).bind(owner).execute().await? == 1)
}

/// The owner's files, newest first.
pub fn list(owner: &UserId, status: Option<FileStatus>) -> List<File> {
    let sql = ListSql {
        page: sql!(
            "SELECT ",
            FILE,
            ", (SELECT COUNT(*) FROM files WHERE ",
            OWN,
            ") AS total
             FROM files WHERE ",
            OWN,
            " ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4"
        ),
        count: sql!("SELECT COUNT(*) FROM files WHERE ", OWN),
        after: sql!(
            "SELECT ",
            FILE,
            " FROM files WHERE ",
            OWN,
            " AND (created_at, id) < ($3, $4)
             ORDER BY created_at DESC, id DESC LIMIT $5"
        ),
    };
    List::newest_first("files", sql).filter(owner.into()).filter(Filter::OptionalText(status.map(|status| status.name().to_owned())))
}

/// Removes a bounded number of uploads that were never confirmed; returns their keys.
pub async fn take_pending(on: impl Into<Executor<'_>>, before: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<String>> {
    let take = query(
        on,
        sql!(
            "DELETE FROM files WHERE status = 'pending' AND id IN
             (SELECT id FROM files WHERE status = 'pending' AND created_at < $1 ORDER BY created_at LIMIT $2) RETURNING key"
        ),
    );
    let rows: Vec<(String,)> = take.bind(before).bind(limit).fetch_all().await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

/// Removes every row of a user; returns the keys of the objects.
pub async fn take_all(on: impl Into<Executor<'_>>, owner: &UserId) -> sqlx::Result<Vec<String>> {
    let take = query(on, sql!("DELETE FROM files WHERE owner_id = $1 RETURNING key"));
    let rows: Vec<(String,)> = take.bind(owner).fetch_all().await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}
