//! SQL that adds to usage.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use sqlx::types::Json;

use crate::features::usage::counters::{Addition, Batch};
use crate::platform::config::Choice as _;
use crate::platform::db::{Executor, Tx, query};
use crate::platform::id::{Id, UserId};
use crate::sql;

/// What becomes of a row that exists: breakdowns are added label by label. Usage that was reported is not the whole any more.
const ADD_POSTGRES: &str = " ON CONFLICT (user_id, metric, period_type, period_start) DO UPDATE SET
    quantity = usage_records.quantity + excluded.quantity, reported_to_stripe = FALSE, updated_at = excluded.updated_at,
    breakdown = CASE WHEN excluded.breakdown = '{}' THEN usage_records.breakdown ELSE (
        SELECT jsonb_object_agg(label, quantity) FROM (
            SELECT label, SUM(CAST(part AS bigint)) AS quantity FROM (
                SELECT key AS label, value AS part FROM jsonb_each_text(usage_records.breakdown)
                UNION ALL SELECT key, value FROM jsonb_each_text(excluded.breakdown)) AS parts
            GROUP BY label) AS sums) END
    RETURNING user_id, metric, period_type, period_start, quantity";
const ADD_SQLITE: &str = " ON CONFLICT (user_id, metric, period_type, period_start) DO UPDATE SET
    quantity = usage_records.quantity + excluded.quantity, reported_to_stripe = FALSE, updated_at = excluded.updated_at,
    breakdown = CASE WHEN excluded.breakdown = '{}' THEN usage_records.breakdown ELSE (
        SELECT json_group_object(label, quantity) FROM (
            SELECT label, SUM(part) AS quantity FROM (
                SELECT key AS label, value AS part FROM json_each(usage_records.breakdown)
                UNION ALL SELECT key, value FROM json_each(excluded.breakdown))
            GROUP BY label)) END
    RETURNING user_id, metric, period_type, period_start, quantity";

/// Marks the batch as stored; returns `false` if it was stored before.
pub async fn claim(on: impl Into<Executor<'_>>, batch: &Batch, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let claim = query(on, sql!("INSERT INTO usage_batches (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"));
    Ok(claim.bind(batch.id).bind(now).execute().await? == 1)
}

/// A quantity after an addition.
#[derive(Debug, sqlx::FromRow)]
pub struct Sum {
    pub user_id: UserId,
    pub metric: String,
    pub period_type: String,
    pub period_start: DateTime<Utc>,
    pub quantity: i64,
}

/// Adds to the rows, and makes those that are not there. What erased users have used is left out. Sorted, so that instances which
/// add to the same rows do not wait for each other in a circle.
pub async fn add(tx: &mut Tx, additions: &[Addition], now: DateTime<Utc>) -> sqlx::Result<Vec<Sum>> {
    let rows: Vec<Value> = additions.iter().map(row).collect();
    let on = Executor::from(tx);
    let text = if on.is_postgres() {
        sql!(
            pg: "INSERT INTO usage_records
                (id, user_id, metric, quantity, period_start, period_end, period_type, breakdown, created_at, updated_at)
             SELECT id, user_id, metric, quantity, period_start, period_end, period_type, breakdown, $2, $2
             FROM jsonb_to_recordset($1) AS new (id text, user_id text, metric text, quantity bigint, period_start timestamptz,
                period_end timestamptz, period_type text, breakdown jsonb)
             WHERE EXISTS (SELECT 1 FROM users WHERE users.id = new.user_id)
             ORDER BY period_type, user_id, metric, period_start", ADD_POSTGRES
        )
    } else {
        sql!(
            lite: "INSERT INTO usage_records
                (id, user_id, metric, quantity, period_start, period_end, period_type, breakdown, created_at, updated_at)
             SELECT value ->> 'id', value ->> 'user_id', value ->> 'metric', value ->> 'quantity', value ->> 'period_start',
                value ->> 'period_end', value ->> 'period_type', value -> 'breakdown', $2, $2
             FROM json_each($1) WHERE EXISTS (SELECT 1 FROM users WHERE users.id = value ->> 'user_id')", ADD_SQLITE
        )
    };
    query(on, text).bind(Json(rows)).bind(now).fetch_all().await
}

fn row(Addition { user, metric, period, quantity, breakdown }: &Addition) -> Value {
    // As sqlx writes times to SQLite, so that they compare as texts.
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, false);
    json!({
        "id": Id::<Addition>::new(), "user_id": user, "metric": metric.name(), "quantity": quantity, "breakdown": breakdown,
        "period_start": time(period.start()), "period_end": time(period.end()), "period_type": period.kind(),
    })
}

/// A user who comes near to a limit.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Near<'n> {
    pub user_id: &'n UserId,
    pub metric: &'n str,
    /// The name of the month.
    pub period: String,
    pub plan: &'static str,
    /// Percent of the limit that are used.
    pub threshold: i64,
}

/// Remembers the warnings that are due: those of a higher threshold, or of another plan, than the last one. Returns the user and
/// the metric of each.
pub async fn warn(on: impl Into<Executor<'_>>, near: &[Near<'_>]) -> sqlx::Result<Vec<(UserId, String)>> {
    const CONFLICT: &str = " ON CONFLICT (user_id, metric, period)
        DO UPDATE SET plan = excluded.plan, threshold = excluded.threshold
        WHERE usage_warnings.plan <> excluded.plan OR usage_warnings.threshold < excluded.threshold RETURNING user_id, metric";
    let on = on.into();
    let text = if on.is_postgres() {
        sql!(
            pg: "INSERT INTO usage_warnings (user_id, metric, period, plan, threshold)
             SELECT user_id, metric, period, plan, threshold
             FROM jsonb_to_recordset($1) AS new (user_id text, metric text, period text, plan text, threshold bigint)
             WHERE TRUE ORDER BY user_id, metric, period", CONFLICT
        )
    } else {
        sql!(
            lite: "INSERT INTO usage_warnings (user_id, metric, period, plan, threshold)
             SELECT value ->> 'user_id', value ->> 'metric', value ->> 'period', value ->> 'plan', value ->> 'threshold'
             FROM json_each($1) WHERE TRUE", CONFLICT
        )
    };
    query(on, text).bind(Json(near)).fetch_all().await
}
