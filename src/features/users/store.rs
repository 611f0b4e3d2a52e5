//! SQL of `users`.

use chrono::{DateTime, Utc};

use super::model::{UpdateUser, User, UserId, UserRead};
use crate::platform::auth::{Identity, Role};
use crate::platform::db::{Db, On, Tx, q};
use crate::platform::http::list::Counted;
use crate::sql;

/// A user about to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub id: UserId,
    pub email: String,
    pub full_name: Option<String>,
    pub avatar_url: Option<String>,
    pub role: Role,
    pub last_login_at: Option<DateTime<Utc>>,
    pub login_count: i32,
}

/// Makes the user unless id or e-mail are taken; says whether it did.
pub async fn insert(on: impl Into<On<'_>>, user: NewUser, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let made = q(
        on,
        sql!(
            "INSERT INTO users (id, email, full_name, avatar_url, role, is_active, last_login_at, login_count, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, TRUE, $6, $7, $8, $8) ON CONFLICT DO NOTHING"
        ),
    );
    let made = made.bind(user.id).bind(user.email).bind(user.full_name).bind(user.avatar_url).bind(user.role);
    Ok(made.bind(user.last_login_at).bind(user.login_count).bind(now).exec().await? == 1)
}

pub async fn identity(on: impl Into<On<'_>>, id: UserId) -> sqlx::Result<Option<Identity>> {
    q(on, sql!("SELECT role, is_active, last_login_at FROM users WHERE id = $1")).bind(id).opt().await
}

pub async fn by_id(on: impl Into<On<'_>>, id: UserId) -> sqlx::Result<Option<User>> {
    q(
        on,
        sql!(
            "SELECT id, email, full_name, avatar_url, role, is_active, stripe_customer_id, subscription_status, subscription_plan,
             apple_original_transaction_id, google_purchase_token, last_login_at, login_count, created_at, updated_at
             FROM users WHERE id = $1"
        ),
    )
    .bind(id)
    .opt()
    .await
}

pub async fn by_email(on: impl Into<On<'_>>, email: &str) -> sqlx::Result<Option<User>> {
    q(
        on,
        sql!(
            "SELECT id, email, full_name, avatar_url, role, is_active, stripe_customer_id, subscription_status, subscription_plan,
             apple_original_transaction_id, google_purchase_token, last_login_at, login_count, created_at, updated_at
             FROM users WHERE email = $1"
        ),
    )
    .bind(email.to_owned())
    .opt()
    .await
}

/// The columns that a user sees of themselves, on the most asked route of all.
pub async fn own_view(on: impl Into<On<'_>>, id: UserId) -> sqlx::Result<Option<UserRead>> {
    q(
        on,
        sql!(
            "SELECT id, email, full_name, avatar_url, role, is_active, subscription_plan, subscription_status, created_at
             FROM users WHERE id = $1"
        ),
    )
    .bind(id)
    .opt()
    .await
}

/// The row as it is until the transaction ends: nobody else changes it meanwhile.
pub async fn lock(db: &Db, tx: &mut Tx, id: UserId) -> sqlx::Result<Option<Identity>> {
    // SQLite's writing transaction has the whole file to itself, and knows no FOR UPDATE.
    let text = db.pick(
        sql!(pg: "SELECT role, is_active, last_login_at FROM users WHERE id = $1 FOR UPDATE"),
        sql!(lite: "SELECT role, is_active, last_login_at FROM users WHERE id = $1"),
    );
    q(tx, text).bind(id).opt().await
}

pub async fn id_of_email(on: impl Into<On<'_>>, email: &str) -> sqlx::Result<Option<UserId>> {
    let row: Option<(UserId,)> = q(on, sql!("SELECT id FROM users WHERE email = $1")).bind(email.to_owned()).opt().await?;
    Ok(row.map(|(id,)| id))
}

/// Counts a login, unless another request has counted it meanwhile.
pub async fn count_login(
    on: impl Into<On<'_>>,
    id: UserId,
    at: DateTime<Utc>,
    only_after: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    q(
        on,
        sql!(
            "UPDATE users SET login_count = login_count + 1, last_login_at = $2, updated_at = $4
             WHERE id = $1 AND (last_login_at IS NULL OR last_login_at < $3)"
        ),
    )
    .bind(id)
    .bind(at)
    .bind(only_after)
    .bind(now)
    .exec()
    .await
}

/// Counts a login of an active user, whose row nobody changes until the transaction ends; says whether there is one.
pub async fn count_own_login(on: impl Into<On<'_>>, id: UserId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let count = q(
        on,
        sql!("UPDATE users SET login_count = login_count + 1, last_login_at = $2, updated_at = $2 WHERE id = $1 AND is_active = TRUE"),
    );
    Ok(count.bind(id).bind(now).exec().await? == 1)
}

pub async fn update(on: impl Into<On<'_>>, id: UserId, change: UpdateUser, now: DateTime<Utc>) -> sqlx::Result<u64> {
    q(
        on,
        sql!(
            "UPDATE users SET full_name = CASE WHEN $2 THEN $3 ELSE full_name END, avatar_url = CASE WHEN $4 THEN $5 ELSE avatar_url END,
             role = COALESCE($6, role), is_active = COALESCE($7, is_active), updated_at = $8 WHERE id = $1"
        ),
    )
    .bind(id)
    .bind(change.full_name.is_some())
    .bind(change.full_name.flatten())
    .bind(change.avatar_url.is_some())
    .bind(change.avatar_url.flatten())
    .bind(change.role)
    .bind(change.is_active)
    .bind(now)
    .exec()
    .await
}

/// A page of all users, newest first, and how many there are.
pub async fn page(db: &Db, active: Option<bool>, limit: i64, skip: i64) -> sqlx::Result<(Vec<User>, i64)> {
    let rows = q(
        db,
        sql!(
            "SELECT id, email, full_name, avatar_url, role, is_active, stripe_customer_id, subscription_status, subscription_plan,
             apple_original_transaction_id, google_purchase_token, last_login_at, login_count, created_at, updated_at,
             (SELECT COUNT(*) FROM users WHERE is_active = $1 OR $1 IS NULL) AS total
             FROM users WHERE is_active = $1 OR $1 IS NULL ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3"
        ),
    );
    let rows: Vec<Counted<User>> = rows.bind(active).bind(limit).bind(skip).all().await?;
    let total = match rows.first() {
        Some(row) => row.total,
        None if skip == 0 => 0,
        None => count(db, active).await?,
    };
    Ok((rows.into_iter().map(|counted| counted.row).collect(), total))
}

async fn count(on: impl Into<On<'_>>, active: Option<bool>) -> sqlx::Result<i64> {
    let (total,): (i64,) = q(on, sql!("SELECT COUNT(*) FROM users WHERE is_active = $1 OR $1 IS NULL")).bind(active).one().await?;
    Ok(total)
}

/// Users older than the given one, newest first.
pub async fn page_after(
    on: impl Into<On<'_>>,
    active: Option<bool>,
    created_at: DateTime<Utc>,
    id: &str,
    limit: i64,
) -> sqlx::Result<Vec<User>> {
    q(
        on,
        sql!(
            "SELECT id, email, full_name, avatar_url, role, is_active, stripe_customer_id, subscription_status, subscription_plan,
             apple_original_transaction_id, google_purchase_token, last_login_at, login_count, created_at, updated_at
             FROM users WHERE (is_active = $1 OR $1 IS NULL) AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4"
        ),
    )
    .bind(active)
    .bind(created_at)
    .bind(id.to_owned())
    .bind(limit)
    .all()
    .await
}

/// Users by whether they are active.
pub async fn count_by_status(on: impl Into<On<'_>>) -> sqlx::Result<Vec<(bool, i64)>> {
    q(on, sql!("SELECT is_active, COUNT(*) FROM users GROUP BY is_active")).all().await
}

/// Active subscriptions by plan.
pub async fn count_by_plan(on: impl Into<On<'_>>) -> sqlx::Result<Vec<(String, i64)>> {
    q(
        on,
        sql!(
            "SELECT COALESCE(subscription_plan, 'free'), COUNT(*) FROM users
             WHERE subscription_status IN ('active', 'trialing') GROUP BY COALESCE(subscription_plan, 'free')"
        ),
    )
    .all()
    .await
}

/// Whether there is any user at all.
pub async fn any(on: impl Into<On<'_>>) -> sqlx::Result<bool> {
    Ok(q(on, sql!("SELECT id FROM users LIMIT 1")).opt::<(UserId,)>().await?.is_some())
}

/// Users in all, those who have logged in since one time, those who are new since another.
pub async fn figures(on: impl Into<On<'_>>, active_since: DateTime<Utc>, new_since: DateTime<Utc>) -> sqlx::Result<(i64, i64, i64)> {
    let counts = q(
        on,
        sql!("SELECT COUNT(*), COUNT(CASE WHEN last_login_at >= $1 THEN 1 END), COUNT(CASE WHEN created_at >= $2 THEN 1 END) FROM users"),
    );
    counts.bind(active_since).bind(new_since).one().await
}

pub async fn erase(on: impl Into<On<'_>>, id: &str) -> sqlx::Result<u64> {
    q(on, sql!("DELETE FROM users WHERE id = $1")).bind(id.to_owned()).exec().await
}
