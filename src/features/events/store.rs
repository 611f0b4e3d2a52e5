//! SQL of `user_events` and `event_positions`.

use chrono::{DateTime, Utc};

use crate::platform::db::{Db, Executor, Tx, query};
use crate::platform::id::UserId;
use crate::sql;

/// Maximum number of rows that one sweep removes.
const SWEEP: i64 = 1000;

/// An event that has its number.
#[derive(Debug, sqlx::FromRow)]
pub struct Numbered {
    pub seq: i64,
    pub event: String,
    /// JSON, on one line.
    pub data: String,
    pub created_at: DateTime<Utc>,
}

/// What a stream has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct News {
    /// Committed events have no number yet.
    pub unnumbered: bool,
    /// Numbered events follow the stream's position.
    pub numbered: bool,
}

/// Stores an event without a number: it takes no lock that another change of the user would wait for.
pub async fn insert(on: impl Into<Executor<'_>>, user: &UserId, event: &str, data: &str, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let insert = query(on, sql!("INSERT INTO user_events (user_id, event, data, created_at) VALUES ($1, $2, $3, $4)"));
    insert.bind(user).bind(event).bind(data).bind(now).execute().await
}

/// Returns whether there is something to number or to send after this number. Two look-ups in indexes.
pub async fn news(db: &Db, user: &UserId, seq: i64) -> sqlx::Result<News> {
    let news = query(
        db,
        sql!(
            "SELECT EXISTS (SELECT 1 FROM user_events WHERE user_id = $1 AND seq IS NULL) AS unnumbered,
             EXISTS (SELECT 1 FROM user_events WHERE user_id = $1 AND seq > $2) AS numbered"
        ),
    );
    news.bind(user).bind(seq).fetch_one().await
}

/// The events after this number, in their order.
pub async fn after(db: &Db, user: &UserId, seq: i64, limit: i64) -> sqlx::Result<Vec<Numbered>> {
    let after =
        query(db, sql!("SELECT seq, event, data, created_at FROM user_events WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"));
    after.bind(user).bind(seq).bind(limit).fetch_all().await
}

/// The last number that was given to an event of the user; `None` if there never was a stream.
pub async fn last(db: &Db, user: &UserId) -> sqlx::Result<Option<i64>> {
    let last = query(db, sql!("SELECT last_seq FROM event_positions WHERE user_id = $1"));
    Ok(last.bind(user).fetch_optional::<(i64,)>().await?.map(|(last,)| last))
}

/// Prepares the user for the first stream.
pub async fn start(db: &Db, user: &UserId) -> sqlx::Result<u64> {
    let start = query(
        db,
        sql!("INSERT INTO event_positions (user_id, last_seq) SELECT id, 0 FROM users WHERE id = $1 ON CONFLICT (user_id) DO NOTHING"),
    );
    start.bind(user).execute().await
}

/// Returns the last number, and keeps other readers from numbering until the transaction ends.
pub async fn lock_last(db: &Db, tx: &mut Tx, user: &UserId) -> sqlx::Result<Option<i64>> {
    // SQLite has no FOR UPDATE: a write transaction locks the whole database.
    let text = db.pick(
        sql!(pg: "SELECT last_seq FROM event_positions WHERE user_id = $1 FOR NO KEY UPDATE"),
        sql!(lite: "SELECT last_seq FROM event_positions WHERE user_id = $1"),
    );
    Ok(query(tx, text).bind(user).fetch_optional::<(i64,)>().await?.map(|(last,)| last))
}

/// Numbers committed events after `last`, in the order of their ids; returns how many. `ORDER BY seq, id` is the order of the index. A statement of its own after
/// [`lock_last`], so that on Postgres it sees what the reader before has numbered.
pub async fn number(tx: &mut Tx, user: &UserId, last: i64, limit: i64) -> sqlx::Result<u64> {
    let number = query(
        tx,
        sql!(
            "UPDATE user_events SET seq = $2 + fresh.place
             FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS place
                   FROM (SELECT id FROM user_events WHERE user_id = $1 AND seq IS NULL ORDER BY seq, id LIMIT $3) AS oldest) AS fresh
             WHERE user_events.id = fresh.id"
        ),
    );
    number.bind(user).bind(last).bind(limit).execute().await
}

/// Records the last number, after [`number`] has given one. Read from the rows, because those that are removed meanwhile leave gaps.
pub async fn set_last(tx: &mut Tx, user: &UserId) -> sqlx::Result<u64> {
    let set =
        query(tx, sql!("UPDATE event_positions SET last_seq = (SELECT MAX(seq) FROM user_events WHERE user_id = $1) WHERE user_id = $1"));
    set.bind(user).execute().await
}

/// Removes a bounded number of events from before this time. Reads the oldest by their ids, which come in the order of time: an
/// index on the time would cost every insert.
pub async fn sweep(db: &Db, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let sweep = query(
        db,
        sql!(
            "DELETE FROM user_events WHERE id IN
             (SELECT id FROM (SELECT id, created_at FROM user_events ORDER BY id LIMIT $2) AS oldest WHERE created_at < $1)"
        ),
    );
    sweep.bind(before).bind(SWEEP).execute().await
}

/// Removes everything of a user; returns how many rows. In the order in which readers lock them.
pub async fn erase(tx: &mut Tx, user: &UserId) -> sqlx::Result<u64> {
    let positions = query(&mut *tx, sql!("DELETE FROM event_positions WHERE user_id = $1")).bind(user).execute().await?;
    Ok(positions + query(tx, sql!("DELETE FROM user_events WHERE user_id = $1")).bind(user).execute().await?)
}
