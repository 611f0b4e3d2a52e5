//! SQL of `jobs`.
//!
//! Times that hosts must agree on (when a job is due, when a lease ends) use Postgres' clock, because the hosts' clocks may
//! differ. A clock set by hand overrides it for due times. SQLite runs on one host and uses that host's clock.

use std::cmp::Reverse;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

use super::model::{Claim, JobId, JobRow, New, State, Status};
use crate::platform::clock::Clock;
use crate::platform::db::{Db, Executor, query};
use crate::platform::http::list::page_with_total;
use crate::platform::id::UserId;
use crate::sql;

/// Columns of a [`Claim`]. The payload is read as text, so that an invalid one does not fail the whole claim.
const CLAIM: &str = "id, function, CAST(kwargs AS text) AS kwargs, attempts, max_attempts, enqueue_time, locked_by AS lock,
    CAST(trace_context AS text) AS trace_context, priority, run_at, owner_id";
/// Columns of a [`JobRow`], except `ahead`, which needs the current time.
const ROW: &str = "id, function, CAST(kwargs AS text) AS kwargs, status AS state, attempts, max_attempts, run_at, enqueue_time,
    start_time, finish_time, success, CAST(result AS text) AS result, error, owner_id";

/// As [`ROW`], for lists: a long result is replaced in the database, which would otherwise send every one of a page. Twice the
/// 1024 bytes that are shown, because Postgres writes JSON with spaces.
const SHORT_ROW: &str = "id, function, CAST(kwargs AS text) AS kwargs, status AS state, attempts, max_attempts, run_at, enqueue_time,
    start_time, finish_time, success, CASE WHEN octet_length(CAST(result AS text)) <= 2048 THEN CAST(result AS text)
    WHEN result IS NOT NULL THEN '{\"truncated\": true}' END AS result, error, owner_id";

/// Retention of finished jobs with their results, and of dead jobs.
const KEEP_FINISHED: TimeDelta = TimeDelta::hours(1);
const KEEP_DEAD: TimeDelta = TimeDelta::days(14);

/// Treated as a poison job after this many lost workers.
const MAX_LOSSES: i32 = 10;

/// A job to be inserted.
pub struct NewRow {
    pub id: JobId,
    pub function: &'static str,
    pub payload: Value,
    pub max_attempts: i32,
    pub new: New,
    /// Context for the job's logs and spans.
    pub trace_context: Option<Value>,
}

/// Inserts the row unless one with its `dedupe_key` waits or runs; returns whether it did.
pub async fn insert(on: Executor<'_>, row: NewRow, clock: &Clock) -> sqlx::Result<bool> {
    let NewRow { id, function, payload, max_attempts, new, trace_context } = row;
    let postgres = on.is_postgres();
    let text = if postgres {
        sql!(
            pg: "INSERT INTO jobs (id, function, kwargs, max_attempts, priority, dedupe_key, owner_id, trace_context, enqueue_time, run_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, COALESCE($9, now()), COALESCE($9, now()) + $10 * interval '1 microsecond')
             ON CONFLICT (dedupe_key) WHERE dedupe_key IS NOT NULL AND status IN ('queued', 'running') DO NOTHING"
        )
    } else {
        sql!(
            lite: "INSERT INTO jobs (id, function, kwargs, max_attempts, priority, dedupe_key, owner_id, trace_context, enqueue_time, run_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (dedupe_key) WHERE dedupe_key IS NOT NULL AND status IN ('queued', 'running') DO NOTHING"
        )
    };
    let insert = query(on, text).bind(id).bind(function).bind(Json(payload)).bind(max_attempts).bind(new.priority);
    let insert = insert.bind(new.dedupe_key).bind(new.owner_id).bind(trace_context.map(Json));
    let insert = if postgres {
        insert.bind(clock.set_time()).bind(new.delay.num_microseconds().unwrap_or(i64::MAX))
    } else {
        insert.bind(clock.now()).bind(clock.now() + new.delay)
    };
    Ok(insert.execute().await? == 1)
}

pub async fn pending(on: impl Into<Executor<'_>>, dedupe_key: &str) -> sqlx::Result<Option<JobId>> {
    let row: Option<(JobId,)> = query(on, sql!("SELECT id FROM jobs WHERE dedupe_key = $1 AND status IN ('queued', 'running')"))
        .bind(dedupe_key)
        .fetch_optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// Claims up to `limit` due rows of these functions, in the order in which they are to run.
pub async fn claim(db: &Db, clock: &Clock, lock: &str, lease: Duration, functions: &[&str], limit: usize) -> sqlx::Result<Vec<Claim>> {
    // ARRAY(..) is evaluated once: as a plain IN (SELECT .. LIMIT) Postgres may run it again for each row and claim too many.
    // `synchronous_commit` is off: a claim lost in a crash of Postgres leaves its row queued.
    let text = db.pick(
        sql!(
            pg: "UPDATE jobs SET status = 'running', locked_by = $1, locked_until = now() + $2 * interval '1 millisecond',
             attempts = attempts + 1, start_time = COALESCE($3, now())
             WHERE (SELECT set_config('synchronous_commit', 'off', TRUE)) = 'off' AND id = ANY (ARRAY(
                SELECT id FROM jobs WHERE status = 'queued' AND run_at <= COALESCE($3, now())
                AND function = ANY (ARRAY(SELECT jsonb_array_elements_text($4)))
                ORDER BY priority DESC, run_at, id LIMIT $5 FOR UPDATE SKIP LOCKED))
             RETURNING ", CLAIM
        ),
        sql!(
            lite: "UPDATE jobs SET status = 'running', locked_by = $1, locked_until = $2, attempts = attempts + 1, start_time = $3
             WHERE id IN (
                SELECT id FROM jobs WHERE status = 'queued' AND run_at <= $3 AND function IN (SELECT value FROM json_each($4))
                ORDER BY priority DESC, run_at, id LIMIT $5)
             RETURNING ", CLAIM
        ),
    );
    let claim = query(db, text).bind(lock);
    let claim = if db.is_postgres() {
        claim.bind(millis(lease)).bind(clock.set_time())
    } else {
        claim.bind(Clock::System.now() + lease).bind(clock.now())
    };
    let mut rows: Vec<Claim> = claim.bind(Json(functions)).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all().await?;
    // RETURNING does not preserve the order.
    rows.sort_by_cached_key(|row| (Reverse(row.priority), row.run_at, row.id.to_string()));
    Ok(rows)
}

/// Claims one waiting row, due or not, for its only attempt.
pub async fn claim_one(db: &Db, clock: &Clock, id: JobId, lock: &str, lease: Duration) -> sqlx::Result<Option<Claim>> {
    let text = db.pick(
        sql!(
            pg: "UPDATE jobs SET status = 'running', locked_by = $2, locked_until = now() + $3 * interval '1 millisecond',
             attempts = attempts + 1, max_attempts = attempts + 1, start_time = COALESCE($4, now()), run_at = COALESCE($4, now())
             WHERE id = $1 AND status = 'queued'
             RETURNING ", CLAIM
        ),
        sql!(
            lite: "UPDATE jobs SET status = 'running', locked_by = $2, locked_until = $3, attempts = attempts + 1,
             max_attempts = attempts + 1, start_time = $4, run_at = $4 WHERE id = $1 AND status = 'queued'
             RETURNING ", CLAIM
        ),
    );
    let claim = query(db, text).bind(id).bind(lock);
    if db.is_postgres() {
        claim.bind(millis(lease)).bind(clock.set_time()).fetch_optional().await
    } else {
        claim.bind(Clock::System.now() + lease).bind(clock.now()).fetch_optional().await
    }
}

/// The state to store when a claimed row is released.
#[derive(Debug, Clone, Serialize)]
pub struct Ending {
    pub id: JobId,
    pub lock: String,
    pub state: &'static str,
    /// 1 if the attempt does not count, otherwise 0.
    pub given_back: i32,
    /// Delay until the next attempt, in microseconds (Postgres).
    pub delay_us: Option<i64>,
    /// Time of the next attempt, in SQLite's format.
    pub run_at: Option<String>,
    pub success: Option<bool>,
    pub result: Option<Value>,
    pub error: Option<String>,
}

impl Ending {
    pub fn new(id: JobId, lock: String, state: &'static str) -> Self {
        Self { id, lock, state, given_back: 0, delay_us: None, run_at: None, success: None, result: None, error: None }
    }

    pub fn again_after(mut self, delay: Duration, now: DateTime<Utc>) -> Self {
        let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::days(1));
        self.delay_us = delay.num_microseconds();
        self.run_at = Some((now + delay).to_rfc3339_opts(SecondsFormat::AutoSi, false));
        self
    }
}

/// Stores the endings of rows that still hold the ending's lock; returns their ids. The list must hold a row at most once.
pub async fn finish(db: &Db, clock: &Clock, endings: &[Ending]) -> sqlx::Result<Vec<JobId>> {
    let text = db.pick(
        sql!(
            pg: "UPDATE jobs SET
                status = CASE WHEN e.state = 'queued' AND cancel_requested THEN 'cancelled' ELSE e.state END,
                attempts = attempts - e.given_back,
                run_at = COALESCE(COALESCE($2, now()) + e.delay_us * interval '1 microsecond', run_at),
                finish_time = CASE WHEN e.state = 'queued' AND NOT cancel_requested THEN NULL ELSE COALESCE($2, now()) END,
                success = e.success, result = e.result, error = e.error, locked_by = NULL, locked_until = NULL
             FROM jsonb_to_recordset($1) AS e (id text, lock text, state text, given_back int, delay_us bigint, success boolean, result jsonb, error text)
             WHERE jobs.id = e.id AND jobs.locked_by = e.lock AND jobs.status = 'running' RETURNING jobs.id"
        ),
        sql!(
            lite: "UPDATE jobs SET
                status = CASE WHEN e.state = 'queued' AND cancel_requested THEN 'cancelled' ELSE e.state END,
                attempts = attempts - e.given_back,
                run_at = COALESCE(e.run_at, jobs.run_at),
                finish_time = CASE WHEN e.state = 'queued' AND NOT cancel_requested THEN NULL ELSE $2 END,
                success = e.success, result = e.result, error = e.error, locked_by = NULL, locked_until = NULL
             FROM (SELECT value ->> 'id' AS id, value ->> 'lock' AS lock, value ->> 'state' AS state, value ->> 'given_back' AS given_back,
                value ->> 'run_at' AS run_at, value ->> 'success' AS success, value -> 'result' AS result, value ->> 'error' AS error
                FROM json_each($1)) AS e
             WHERE jobs.id = e.id AND jobs.locked_by = e.lock AND jobs.status = 'running' RETURNING id"
        ),
    );
    let now = if db.is_postgres() { clock.set_time() } else { Some(clock.now()) };
    let rows: Vec<(JobId,)> = query(db, text).bind(Json(endings)).bind(now).fetch_all().await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// A row whose lease was renewed.
#[derive(Debug, sqlx::FromRow)]
pub struct Renewed {
    pub id: JobId,
    pub lock: String,
    pub cancel_requested: bool,
}

/// Renews this worker's leases of these rows; returns the rows it still holds.
pub async fn renew(db: &Db, worker: &str, lease: Duration, ids: &[JobId]) -> sqlx::Result<Vec<Renewed>> {
    let text = db.pick(
        sql!(
            pg: "UPDATE jobs SET locked_until = now() + $1 * interval '1 millisecond'
             WHERE status = 'running' AND id = ANY (ARRAY(SELECT jsonb_array_elements_text($2))) AND split_part(locked_by, '/', 1) = $3
             RETURNING id, locked_by AS lock, cancel_requested"
        ),
        sql!(
            lite: "UPDATE jobs SET locked_until = $1
             WHERE status = 'running' AND id IN (SELECT value FROM json_each($2)) AND substr(locked_by, 1, instr(locked_by, '/') - 1) = $3
             RETURNING id, locked_by AS lock, cancel_requested"
        ),
    );
    let renew = query(db, text);
    let renew = if db.is_postgres() { renew.bind(millis(lease)) } else { renew.bind(Clock::System.now() + lease) };
    renew.bind(Json(ids)).bind(worker).fetch_all().await
}

/// Puts back rows that this worker has locked but does not hold, such as those of a claim whose answer was lost.
pub async fn release(db: &Db, worker: &str, held: &[JobId]) -> sqlx::Result<u64> {
    let text = db.pick(
        sql!(
            pg: "UPDATE jobs SET status = 'queued', attempts = attempts - 1, locked_by = NULL, locked_until = NULL
             WHERE status = 'running' AND split_part(locked_by, '/', 1) = $1 AND NOT id = ANY (ARRAY(SELECT jsonb_array_elements_text($2)))"
        ),
        sql!(
            lite: "UPDATE jobs SET status = 'queued', attempts = attempts - 1, locked_by = NULL, locked_until = NULL
             WHERE status = 'running' AND substr(locked_by, 1, instr(locked_by, '/') - 1) = $1 AND id NOT IN (SELECT value FROM json_each($2))"
        ),
    );
    query(db, text).bind(worker).bind(Json(held)).execute().await
}

/// Takes back rows whose lease has expired; returns how many. The attempt does not count, because a worker is rarely lost
/// through its job; after `MAX_LOSSES` the job is dead.
pub async fn take_back(db: &Db, clock: &Clock) -> sqlx::Result<u64> {
    let text = db.pick(
        sql!(
            pg: "UPDATE jobs SET error = 'worker lost', locked_by = NULL, locked_until = NULL, losses = losses + 1, attempts = attempts - 1,
             status = CASE WHEN cancel_requested THEN 'cancelled' WHEN losses + 1 >= $2 THEN 'dead' ELSE 'queued' END,
             finish_time = CASE WHEN cancel_requested OR losses + 1 >= $2 THEN COALESCE($1, now()) END,
             success = CASE WHEN losses + 1 >= $2 AND NOT cancel_requested THEN FALSE END
             WHERE status = 'running' AND locked_until < now()"
        ),
        sql!(
            lite: "UPDATE jobs SET error = 'worker lost', locked_by = NULL, locked_until = NULL, losses = losses + 1, attempts = attempts - 1,
             status = CASE WHEN cancel_requested THEN 'cancelled' WHEN losses + 1 >= $2 THEN 'dead' ELSE 'queued' END,
             finish_time = CASE WHEN cancel_requested OR losses + 1 >= $2 THEN $1 END,
             success = CASE WHEN losses + 1 >= $2 AND NOT cancel_requested THEN 0 END
             WHERE status = 'running' AND locked_until < $3"
        ),
    );
    let sweep = query(db, text);
    let sweep = if db.is_postgres() {
        sweep.bind(clock.set_time()).bind(MAX_LOSSES)
    } else {
        sweep.bind(clock.now()).bind(MAX_LOSSES).bind(Clock::System.now())
    };
    sweep.execute().await
}

/// Cancels a waiting row, or requests cancellation of a running one. Returns the row's state, `None` for any other row.
pub async fn cancel(db: &Db, id: JobId, now: DateTime<Utc>) -> sqlx::Result<Option<State>> {
    let cancel = query(
        db,
        sql!(
            "UPDATE jobs SET cancel_requested = TRUE, finish_time = CASE WHEN status = 'queued' THEN $2 ELSE finish_time END,
             status = CASE WHEN status = 'queued' THEN 'cancelled' ELSE status END
             WHERE id = $1 AND status IN ('queued', 'running') RETURNING status"
        ),
    );
    let row: Option<(State,)> = cancel.bind(id).bind(now).fetch_optional().await?;
    Ok(row.map(|(state,)| state))
}

pub async fn by_id(on: impl Into<Executor<'_>>, id: JobId, now: DateTime<Utc>) -> sqlx::Result<Option<JobRow>> {
    query(on, sql!("SELECT ", ROW, ", run_at > $2 AS ahead FROM jobs WHERE id = $1")).bind(id).bind(now).fetch_optional().await
}

/// Returns a page of rows, newest first, optionally of one status, and the total. Results longer than some 1024 bytes are replaced
/// by `{"truncated": true}`.
pub async fn page(db: &Db, status: Option<Status>, limit: i64, skip: i64, now: DateTime<Utc>) -> sqlx::Result<(Vec<JobRow>, i64)> {
    // Ids are ordered by time, so the primary key gives the order of the list.
    let rows = query(
        db,
        sql!(
            "SELECT ",
            SHORT_ROW,
            ", run_at > $3 AS ahead,
             (SELECT COUNT(*) FROM jobs WHERE (status = $1 OR $1 IS NULL) AND ((run_at > $3) = $2 OR $2 IS NULL)) AS total
             FROM jobs WHERE (status = $1 OR $1 IS NULL) AND ((run_at > $3) = $2 OR $2 IS NULL)
             ORDER BY id DESC LIMIT $4 OFFSET $5"
        ),
    );
    let (state, ahead) = match status {
        None => (None, None),
        Some(Status::Deferred) => (Some(State::Queued), Some(true)),
        Some(Status::Queued) => (Some(State::Queued), Some(false)),
        Some(Status::InProgress) => (Some(State::Running), None),
        Some(Status::Complete) => (Some(State::Done), None),
        Some(Status::Failed) => (Some(State::Dead), None),
        Some(Status::Cancelled) => (Some(State::Cancelled), None),
    };
    let rows = rows.bind(state).bind(ahead).bind(now).bind(limit).bind(skip);
    let count = || {
        let count = query(db, sql!("SELECT COUNT(*) FROM jobs WHERE (status = $1 OR $1 IS NULL) AND ((run_at > $3) = $2 OR $2 IS NULL)"));
        count.bind(state).bind(ahead).bind(now)
    };
    page_with_total(rows, count, skip).await
}

pub async fn waiting(db: &Db, clock: &Clock) -> sqlx::Result<i64> {
    let waiting = query(db, sql!("SELECT COUNT(*) FROM jobs WHERE status = 'queued' AND run_at <= $1"));
    let (count,): (i64,) = waiting.bind(clock.now()).fetch_one().await?;
    Ok(count)
}

/// Batched, because SQLite has a single writer.
pub async fn sweep_finished(db: &Db, now: DateTime<Utc>) -> sqlx::Result<u64> {
    // The two kinds are selected separately, because with OR in one condition neither engine uses the index.
    let finished = query(
        db,
        sql!(
            "DELETE FROM jobs WHERE id IN (
                SELECT id FROM jobs WHERE status IN ('done', 'cancelled') AND finish_time < $1 LIMIT 1000)"
        ),
    );
    let dead = query(db, sql!("DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE status = 'dead' AND finish_time < $1 LIMIT 1000)"));
    Ok(finished.bind(now - KEEP_FINISHED).execute().await? + dead.bind(now - KEEP_DEAD).execute().await?)
}

pub async fn erase(on: impl Into<Executor<'_>>, owner_id: &UserId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM jobs WHERE owner_id = $1")).bind(owner_id).execute().await
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
