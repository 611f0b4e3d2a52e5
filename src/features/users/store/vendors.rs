//! SQL of the columns of `users` that belong to payment vendors.

use chrono::{DateTime, Utc};

use crate::platform::db::{Db, Executor, Sql, Tx, query};
use crate::platform::id::UserId;
use crate::sql;

/// A vendor's id in a user's row. Each is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    StripeCustomer,
    AppleOriginalTransaction,
    GooglePurchaseToken,
}

/// A user's accounts at vendors, and the copy of the plan.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct UserVendors {
    pub id: UserId,
    pub email: String,
    pub full_name: Option<String>,
    pub stripe_customer_id: Option<String>,
    pub apple_original_transaction_id: Option<String>,
    pub google_purchase_token: Option<String>,
    pub subscription_status: Option<String>,
    pub subscription_plan: Option<String>,
}

/// The plan that follows from a user's subscriptions.
#[derive(Debug, Clone, Copy)]
pub struct PlanCopy<'p> {
    pub status: &'p str,
    pub plan: &'p str,
    /// The vendor of the subscription that decides.
    pub source: &'p str,
    pub event_at: DateTime<Utc>,
}

/// The columns of a [`UserVendors`].
const VENDORS: &str = "id, email, full_name, stripe_customer_id, apple_original_transaction_id, google_purchase_token,
    subscription_status, subscription_plan";

pub async fn by_id(on: impl Into<Executor<'_>>, id: &UserId) -> sqlx::Result<Option<UserVendors>> {
    query(on, sql!("SELECT ", VENDORS, " FROM users WHERE id = $1")).bind(id).fetch_optional().await
}

/// As [`by_id`]; locks the row until the transaction ends.
pub async fn lock(db: &Db, tx: &mut Tx, id: &UserId) -> sqlx::Result<Option<UserVendors>> {
    // SQLite has no FOR UPDATE: a write transaction locks the whole database.
    let text = db.pick(
        sql!(pg: "SELECT ", VENDORS, " FROM users WHERE id = $1 FOR UPDATE"),
        sql!(lite: "SELECT ", VENDORS, " FROM users WHERE id = $1"),
    );
    query(tx, text).bind(id).fetch_optional().await
}

pub async fn find(on: impl Into<Executor<'_>>, column: Column, value: &str) -> sqlx::Result<Option<UserId>> {
    let text: &'static Sql = match column {
        Column::StripeCustomer => sql!("SELECT id FROM users WHERE stripe_customer_id = $1"),
        Column::AppleOriginalTransaction => sql!("SELECT id FROM users WHERE apple_original_transaction_id = $1"),
        Column::GooglePurchaseToken => sql!("SELECT id FROM users WHERE google_purchase_token = $1"),
    };
    Ok(query(on, text).bind(value).fetch_optional::<(UserId,)>().await?.map(|(id,)| id))
}

pub async fn lapsed_customers(
    on: impl Into<Executor<'_>>,
    changed_since: DateTime<Utc>,
    after: Option<&UserId>,
    limit: i64,
) -> sqlx::Result<Vec<UserId>> {
    let lapsed = query(
        on,
        sql!(
            "SELECT id FROM users WHERE stripe_customer_id IS NOT NULL AND updated_at > $1 AND (id > $2 OR $2 IS NULL)
             AND (subscription_status IS NULL OR subscription_status NOT IN ('active', 'trialing', 'past_due'))
             ORDER BY id LIMIT $3"
        ),
    );
    let rows: Vec<(UserId,)> = lapsed.bind(changed_since).bind(after).bind(limit).fetch_all().await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn set(on: impl Into<Executor<'_>>, id: &UserId, column: Column, value: Option<&str>, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let text: &'static Sql = match column {
        Column::StripeCustomer => sql!("UPDATE users SET stripe_customer_id = $2, updated_at = $3 WHERE id = $1"),
        Column::AppleOriginalTransaction => {
            sql!("UPDATE users SET apple_original_transaction_id = $2, updated_at = $3 WHERE id = $1")
        }
        Column::GooglePurchaseToken => sql!("UPDATE users SET google_purchase_token = $2, updated_at = $3 WHERE id = $1"),
    };
    query(on, text).bind(id).bind(value).bind(now).execute().await
}

pub async fn set_plan(on: impl Into<Executor<'_>>, id: &UserId, plan: &PlanCopy<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    let set = query(
        on,
        sql!(
            "UPDATE users SET subscription_status = $2, subscription_plan = $3, subscription_source = $4, subscription_event_at = $5,
             updated_at = $6 WHERE id = $1"
        ),
    );
    set.bind(id).bind(plan.status).bind(plan.plan).bind(plan.source).bind(plan.event_at).bind(now).execute().await?;
    Ok(())
}
