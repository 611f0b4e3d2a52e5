//! SQL of `usage_reports`, and of what the reports need from other tables: customers from `users`, quantities and the mark
//! "reported" from `usage_records`. Their owners would only pass these statements on.

use chrono::{DateTime, TimeDelta, Utc};

use super::config::Meter;
use super::model::{Report, ReportId, Unreported, WINDOW};
use crate::platform::config::Choice;
use crate::platform::db::{Db, Executor, query};
use crate::platform::id::UserId;
use crate::sql;

/// Rows that one clean-up step removes.
const SWEEP: i64 = 1000;

/// Users who are customers at Stripe, in the order of their ids after `after`, at most `limit`.
pub async fn customers(db: &Db, after: Option<&UserId>, limit: i64) -> sqlx::Result<Vec<UserId>> {
    let customers =
        query(db, sql!("SELECT id FROM users WHERE stripe_customer_id IS NOT NULL AND (id > $1 OR $1 IS NULL) ORDER BY id LIMIT $2"));
    let rows: Vec<(UserId,)> = customers.bind(after).bind(limit).fetch_all().await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What the customers between two ids, both included, used of a metric in the last days beyond their reports. Days whose last
/// report waits for its answer are left out, and those that Stripe refused a report of since `refused_since`.
pub async fn unreported(
    db: &Db,
    metric: &str,
    (first, last): (&UserId, &UserId),
    now: DateTime<Utc>,
    refused_since: DateTime<Utc>,
) -> sqlx::Result<Vec<Unreported>> {
    // An expired report may have been counted, so it counts as reported.
    let unreported = query(
        db,
        sql!(
            "SELECT user_id, stripe_customer_id, day, day_end, value, number FROM (
                 SELECT u.id AS user_id, u.stripe_customer_id, r.period_start AS day, r.period_end AS day_end,
                     r.quantity - COALESCE((SELECT CAST(SUM(p.value) AS bigint) FROM usage_reports AS p
                         WHERE p.user_id = u.id AND p.metric = $1 AND p.day = r.period_start AND p.state <> 'refused'), 0) AS value,
                     COALESCE((SELECT MAX(p.number) FROM usage_reports AS p
                         WHERE p.user_id = u.id AND p.metric = $1 AND p.day = r.period_start), 0) + 1 AS number
                 FROM users AS u JOIN usage_records AS r ON r.user_id = u.id
                 WHERE u.stripe_customer_id IS NOT NULL AND u.id >= $2 AND u.id <= $3
                     AND r.metric = $1 AND r.period_type = 'daily' AND r.period_start > $4 AND r.period_start <= $5
                     AND r.reported_to_stripe = FALSE
                     AND NOT EXISTS (SELECT 1 FROM usage_reports AS p
                         WHERE p.user_id = u.id AND p.metric = $1 AND p.day = r.period_start AND (p.state = 'pending'
                             OR (p.state = 'refused' AND p.stripe_customer_id = u.stripe_customer_id AND p.updated_at > $6)))
             ) AS used WHERE value > 0 ORDER BY user_id, day"
        ),
    );
    let oldest = now - WINDOW - TimeDelta::days(1);
    unreported.bind(metric).bind(first).bind(last).bind(oldest).bind(now).bind(refused_since).fetch_all().await
}

/// Writes a report down. Does nothing if another instance did so, or if the user has another customer by now.
pub async fn insert(
    on: impl Into<Executor<'_>>,
    meter: &Meter,
    used: &Unreported,
    reported_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let insert = query(
        on,
        sql!(
            "INSERT INTO usage_reports (id, created_at, updated_at, user_id, stripe_customer_id, metric, event_name, day, number, value,
                 reported_at, identifier, state, next_attempt_at)
             SELECT $1, $2, $2, id, stripe_customer_id, $5, $6, $7, $8, $9, $10, $11, 'pending', $2
             FROM users WHERE id = $3 AND stripe_customer_id = $4 ON CONFLICT DO NOTHING"
        ),
    );
    let metric = meter.metric.name();
    let insert = insert.bind(ReportId::new()).bind(now).bind(&used.user_id).bind(&used.stripe_customer_id).bind(metric);
    let insert = insert.bind(&meter.event_name).bind(used.day).bind(used.number).bind(used.value).bind(reported_at);
    insert.bind(used.identifier(metric)).execute().await
}

/// Reports that are due, at most `limit`: those with the fewest attempts first, so that none is kept back by others that fail.
pub async fn due(db: &Db, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Report>> {
    let due = query(
        db,
        sql!(
            "SELECT id, user_id, stripe_customer_id, metric, event_name, day, value, reported_at, identifier, attempts, first_sent_at
             FROM usage_reports WHERE state = 'pending' AND next_attempt_at <= $1 ORDER BY attempts, next_attempt_at, id LIMIT $2"
        ),
    );
    due.bind(now).bind(limit).fetch_all().await
}

/// Takes a due report until `until`. Returns `false` if another run has it.
pub async fn take(db: &Db, id: ReportId, now: DateTime<Utc>, until: DateTime<Utc>) -> sqlx::Result<bool> {
    let take = query(
        db,
        sql!(
            "UPDATE usage_reports SET next_attempt_at = $3, updated_at = $2 WHERE id = $1 AND state = 'pending' AND next_attempt_at <= $2"
        ),
    );
    Ok(take.bind(id).bind(now).bind(until).execute().await? == 1)
}

/// Records an attempt before it is made. Returns `false` if there is nothing to send any more.
pub async fn note_sent(db: &Db, id: ReportId, first_sent_at: DateTime<Utc>, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let note = query(
        db,
        sql!("UPDATE usage_reports SET attempts = attempts + 1, first_sent_at = $2, updated_at = $3 WHERE id = $1 AND state = 'pending'"),
    );
    Ok(note.bind(id).bind(first_sent_at).bind(now).execute().await? == 1)
}

/// Records why the last attempt failed, and since when the report may have been counted.
pub async fn note_failure(
    db: &Db,
    id: ReportId,
    first_sent_at: Option<DateTime<Utc>>,
    error: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let note =
        query(db, sql!("UPDATE usage_reports SET first_sent_at = $2, error = $3, updated_at = $4 WHERE id = $1 AND state = 'pending'"));
    note.bind(id).bind(first_sent_at).bind(error).bind(now).execute().await
}

/// How a report ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Delivered,
    Refused,
    Expired,
}

/// Ends a report that waits. Returns `false` if another run was faster.
pub async fn end(on: impl Into<Executor<'_>>, id: ReportId, end: End, error: Option<&str>, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let state = match end {
        End::Delivered => "delivered",
        End::Refused => "refused",
        End::Expired => "expired",
    };
    let update = query(on, sql!("UPDATE usage_reports SET state = $2, error = $3, updated_at = $4 WHERE id = $1 AND state = 'pending'"));
    Ok(update.bind(id).bind(state).bind(error).bind(now).execute().await? == 1)
}

/// Marks the counted day of a report that was delivered: as reported, if that is all of its quantity.
pub async fn mark_record(on: impl Into<Executor<'_>>, report: &Report, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let mark = query(
        on,
        sql!(
            "UPDATE usage_records SET stripe_usage_record_id = $4, updated_at = $5, reported_to_stripe =
                 (quantity = (SELECT SUM(value) FROM usage_reports WHERE user_id = $1 AND metric = $2 AND day = $3 AND state = 'delivered'))
             WHERE user_id = $1 AND metric = $2 AND period_type = 'daily' AND period_start = $3"
        ),
    );
    mark.bind(&report.user_id).bind(&report.metric).bind(report.day).bind(&report.identifier).bind(now).execute().await
}

/// What was delivered of the day of a report, to the same meter and for the same customer.
pub async fn delivered(db: &Db, report: &Report) -> sqlx::Result<i64> {
    let delivered = query(
        db,
        sql!(
            "SELECT CAST(COALESCE(SUM(value), 0) AS bigint) FROM usage_reports
             WHERE user_id = $1 AND metric = $2 AND day = $3 AND stripe_customer_id = $4 AND event_name = $5 AND state = 'delivered'"
        ),
    );
    let delivered = delivered.bind(&report.user_id).bind(&report.metric).bind(report.day);
    let (sum,): (i64,) = delivered.bind(&report.stripe_customer_id).bind(&report.event_name).fetch_one().await?;
    Ok(sum)
}

/// Removes a bounded number of reports of days before this time.
pub async fn sweep(db: &Db, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let sweep = query(db, sql!("DELETE FROM usage_reports WHERE id IN (SELECT id FROM usage_reports WHERE day < $1 LIMIT $2)"));
    sweep.bind(before).bind(SWEEP).execute().await
}

pub async fn erase(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM usage_reports WHERE user_id = $1")).bind(user).execute().await
}
