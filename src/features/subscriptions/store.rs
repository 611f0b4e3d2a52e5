//! SQL of `subscriptions`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;

use super::model::{Plan, Status, Subscription, SubscriptionId, Vendor};
use crate::platform::db::{Db, Executor, query};
use crate::platform::id::UserId;
use crate::sql;

/// The columns of a [`Subscription`].
const SUBSCRIPTION: &str = "id, created_at, user_id, provider, external_id, product, plan, status, current_period_end, cancel_at,
    event_at, plan_at, event_rank, last_transaction_id, superseded_by, raw";

pub async fn find(on: impl Into<Executor<'_>>, vendor: Vendor, external_id: &str) -> sqlx::Result<Option<Subscription>> {
    let find = query(on, sql!("SELECT ", SUBSCRIPTION, " FROM subscriptions WHERE provider = $1 AND external_id = $2"));
    find.bind(vendor).bind(external_id).fetch_optional().await
}

/// The user's subscriptions, oldest first.
pub async fn of_user(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<Vec<Subscription>> {
    let all = query(on, sql!("SELECT ", SUBSCRIPTION, " FROM subscriptions WHERE user_id = $1 ORDER BY created_at, id"));
    all.bind(user).fetch_all().await
}

/// The user's subscriptions, and the one with this external id whoever owns it.
pub async fn around(on: impl Into<Executor<'_>>, user: &UserId, vendor: Vendor, external_id: &str) -> sqlx::Result<Vec<Subscription>> {
    let all = query(
        on,
        sql!(
            "SELECT ",
            SUBSCRIPTION,
            " FROM subscriptions WHERE user_id = $1 OR (provider = $2 AND external_id = $3) ORDER BY created_at, id"
        ),
    );
    all.bind(user).bind(vendor).bind(external_id).fetch_all().await
}

/// Inserts the row, or replaces the one with its id.
pub async fn put(on: impl Into<Executor<'_>>, row: &Subscription, now: DateTime<Utc>) -> sqlx::Result<()> {
    let put = query(
        on,
        sql!(
            "INSERT INTO subscriptions (id, user_id, provider, external_id, product, plan, status, current_period_end, cancel_at,
                 event_at, plan_at, event_rank, last_transaction_id, superseded_by, raw, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
             ON CONFLICT (id) DO UPDATE SET product = excluded.product, plan = excluded.plan, status = excluded.status,
                 current_period_end = excluded.current_period_end, cancel_at = excluded.cancel_at, event_at = excluded.event_at,
                 plan_at = excluded.plan_at, event_rank = excluded.event_rank, last_transaction_id = excluded.last_transaction_id,
                 superseded_by = excluded.superseded_by, raw = excluded.raw, updated_at = excluded.updated_at"
        ),
    );
    let put = put.bind(row.id).bind(&row.user_id).bind(row.vendor).bind(&row.external_id).bind(&row.product).bind(row.plan);
    let put =
        put.bind(row.status).bind(row.current_period_end).bind(row.cancel_at).bind(row.event_at).bind(row.plan_at).bind(row.event_rank);
    let put = put.bind(&row.last_transaction_id).bind(&row.superseded_by).bind(&row.raw).bind(row.created_at).bind(now);
    put.execute().await?;
    Ok(())
}

/// A user's copy of the plan, with one of their subscriptions if there are any.
#[derive(sqlx::FromRow)]
pub struct StatusRow {
    pub copied_plan: Option<String>,
    pub copied_status: Option<String>,
    pub stripe_customer_id: Option<String>,
    id: Option<SubscriptionId>,
    created_at: Option<DateTime<Utc>>,
    user_id: Option<UserId>,
    provider: Option<Vendor>,
    external_id: Option<String>,
    product: Option<String>,
    plan: Option<Plan>,
    status: Option<Status>,
    current_period_end: Option<DateTime<Utc>>,
    cancel_at: Option<DateTime<Utc>>,
    event_at: Option<DateTime<Utc>>,
    plan_at: Option<DateTime<Utc>>,
    event_rank: Option<i16>,
    last_transaction_id: Option<String>,
    superseded_by: Option<String>,
}

impl StatusRow {
    /// The subscription of the row, without the vendor's object, which a status does not need.
    pub fn subscription(self) -> Option<Subscription> {
        Some(Subscription {
            id: self.id?,
            created_at: self.created_at?,
            user_id: self.user_id?,
            vendor: self.provider?,
            external_id: self.external_id?,
            product: self.product,
            plan: self.plan?,
            status: self.status?,
            current_period_end: self.current_period_end,
            cancel_at: self.cancel_at,
            event_at: self.event_at?,
            plan_at: self.plan_at?,
            event_rank: self.event_rank?,
            last_transaction_id: self.last_transaction_id,
            superseded_by: self.superseded_by,
            raw: Json(Value::Null),
        })
    }
}

/// Everything that a user's status follows from, in one statement. At least one row for a user that exists.
pub async fn status(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<Vec<StatusRow>> {
    let status = query(
        on,
        sql!(
            "SELECT u.subscription_plan AS copied_plan, u.subscription_status AS copied_status, u.stripe_customer_id,
             s.id, s.created_at, s.user_id, s.provider, s.external_id, s.product, s.plan, s.status, s.current_period_end, s.cancel_at,
             s.event_at, s.plan_at, s.event_rank, s.last_transaction_id, s.superseded_by
             FROM users AS u LEFT JOIN subscriptions AS s ON s.user_id = u.id WHERE u.id = $1 ORDER BY s.created_at, s.id"
        ),
    );
    status.bind(user).fetch_all().await
}

/// Running subscriptions whose paid time ended before `until`, in the order of their ids after `after`, at most `limit`.
pub async fn ended(db: &Db, until: DateTime<Utc>, after: Option<SubscriptionId>, limit: i64) -> sqlx::Result<Vec<Subscription>> {
    let ended = query(
        db,
        sql!(
            "SELECT ",
            SUBSCRIPTION,
            " FROM subscriptions WHERE status <> 'canceled' AND superseded_by IS NULL AND current_period_end < $1
             AND (id > $2 OR $2 IS NULL) ORDER BY id LIMIT $3"
        ),
    );
    ended.bind(until).bind(after).bind(limit).fetch_all().await
}

/// Subscriptions that have not ended, in the order of their ids after `after`, at most `limit`.
pub async fn running(db: &Db, after: Option<SubscriptionId>, limit: i64) -> sqlx::Result<Vec<Subscription>> {
    let running = query(
        db,
        sql!(
            "SELECT ",
            SUBSCRIPTION,
            " FROM subscriptions WHERE status <> 'canceled' AND superseded_by IS NULL AND (id > $1 OR $1 IS NULL) ORDER BY id LIMIT $2"
        ),
    );
    running.bind(after).bind(limit).fetch_all().await
}

pub async fn erase(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM subscriptions WHERE user_id = $1")).bind(user).execute().await
}
