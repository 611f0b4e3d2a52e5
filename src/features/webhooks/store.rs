//! SQL of `webhook_events`.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;

use super::model::{EventId, EventRow, EventStatus, Filters};
use super::sender::Event;
use crate::platform::db::{Db, Executor, query};
use crate::platform::http::list::{Filter, List, ListSql};
use crate::platform::text::like_contains;
use crate::sql;

/// An event that is being handled for longer than this has lost its process.
pub const STALE: TimeDelta = TimeDelta::minutes(5);

/// The columns of an [`EventRow`].
const EVENT: &str = "id, provider, event_type, idempotency_key, status, attempts, error_message, created_at, processed_at";

/// Condition: rows that may be handled (again): failed ones, and those whose process is gone. `$8` is the time that is stale.
const OPEN: &str = "(webhook_events.status = 'failed'
    OR (webhook_events.status IN ('pending', 'processing') AND webhook_events.updated_at < $8))";

/// Records the event as processed, in the transaction of its effect. Returns `false` if it was processed before, or if another
/// process is handling it. Atomic: of concurrent deliveries, all but one wait for the one and get `false`.
pub async fn claim(on: impl Into<Executor<'_>>, provider: &str, event: &Event, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let claim = query(
        on,
        sql!(
            "INSERT INTO webhook_events (id, provider, event_type, idempotency_key, payload, status, attempts, occurred_at,
                 processed_at, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 'processed', 1, $6, $7, $7, $7)
             ON CONFLICT (provider, idempotency_key) DO UPDATE SET status = 'processed', attempts = webhook_events.attempts + 1,
                 error_message = NULL, processed_at = excluded.processed_at, updated_at = excluded.updated_at
             WHERE ",
            OPEN
        ),
    );
    let claim = claim.bind(EventId::new()).bind(provider).bind(&event.kind).bind(&event.id).bind(Json(&event.payload));
    Ok(claim.bind(event.occurred_at).bind(now).bind(now - STALE).execute().await? == 1)
}

/// Records a failed attempt, unless another one has succeeded. Returns the row's id if it is recorded.
pub async fn fail(
    on: impl Into<Executor<'_>>,
    provider: &str,
    event: &Event,
    error: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<EventId>> {
    let fail = query(
        on,
        sql!(
            "INSERT INTO webhook_events (id, provider, event_type, idempotency_key, payload, status, attempts, occurred_at,
                 created_at, updated_at, error_message)
             VALUES ($1, $2, $3, $4, $5, 'failed', 1, $6, $7, $7, $9)
             ON CONFLICT (provider, idempotency_key) DO UPDATE SET status = 'failed', attempts = webhook_events.attempts + 1,
                 error_message = excluded.error_message, updated_at = excluded.updated_at
             WHERE ",
            OPEN,
            " RETURNING id"
        ),
    );
    let fail = fail.bind(EventId::new()).bind(provider).bind(&event.kind).bind(&event.id).bind(Json(&event.payload));
    let row: Option<(EventId,)> = fail.bind(event.occurred_at).bind(now).bind(now - STALE).bind(error).fetch_optional().await?;
    Ok(row.map(|(id,)| id))
}

/// The status of an event, if it is recorded.
pub async fn status(on: impl Into<Executor<'_>>, provider: &str, id: &str) -> sqlx::Result<Option<EventStatus>> {
    let status = query(on, sql!("SELECT status FROM webhook_events WHERE provider = $1 AND idempotency_key = $2"));
    Ok(status.bind(provider).bind(id).fetch_optional::<(EventStatus,)>().await?.map(|(status,)| status))
}

/// A stored event with its payload.
#[derive(Debug, sqlx::FromRow)]
pub struct Stored {
    #[sqlx(flatten)]
    pub row: EventRow,
    pub payload: Json<serde_json::Value>,
    pub occurred_at: Option<DateTime<Utc>>,
}

pub async fn by_id(on: impl Into<Executor<'_>>, id: EventId) -> sqlx::Result<Option<Stored>> {
    query(on, sql!("SELECT ", EVENT, ", payload, occurred_at FROM webhook_events WHERE id = $1")).bind(id).fetch_optional().await
}

/// Ids of events that lost their process, oldest first, at most `limit`.
pub async fn stale(db: &Db, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<EventId>> {
    let stale = query(
        db,
        sql!(
            "SELECT id FROM webhook_events WHERE status IN ('pending', 'processing') AND updated_at < $1
             ORDER BY updated_at LIMIT $2"
        ),
    );
    let rows: Vec<(EventId,)> = stale.bind(now - STALE).bind(limit).fetch_all().await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Condition: the filters of the administrators' list.
const MATCHING: &str = "(provider = $1 OR $1 IS NULL) AND (status = $2 OR $2 IS NULL) AND (event_type = $3 OR $3 IS NULL)";

/// Events, newest first.
pub fn list(filters: Filters) -> List<EventRow> {
    let sql = ListSql {
        page: sql!(
            "SELECT ",
            EVENT,
            ", (SELECT COUNT(*) FROM webhook_events WHERE ",
            MATCHING,
            ") AS total
             FROM webhook_events WHERE ",
            MATCHING,
            " ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $5"
        ),
        count: sql!("SELECT COUNT(*) FROM webhook_events WHERE ", MATCHING),
        after: sql!(
            "SELECT ",
            EVENT,
            " FROM webhook_events WHERE ",
            MATCHING,
            " AND (created_at, id) < ($4, $5) ORDER BY created_at DESC, id DESC LIMIT $6"
        ),
    };
    let list = List::newest_first("webhooks", sql).filter(Filter::OptionalText(filters.provider));
    let list = list.filter(Filter::OptionalText(filters.status.map(|status| status.name().to_owned())));
    list.filter(Filter::OptionalText(filters.event_type))
}

/// Removes the events whose payload names this value, as a JSON text. Reads the whole table, because a payload may name a user
/// anywhere: erasures are rare.
pub async fn erase(on: impl Into<Executor<'_>>, value: &str) -> sqlx::Result<u64> {
    let needle = serde_json::Value::from(value).to_string();
    let erase = query(on, sql!(r"DELETE FROM webhook_events WHERE CAST(payload AS text) LIKE $1 ESCAPE '\'"));
    erase.bind(like_contains(&needle)).execute().await
}
