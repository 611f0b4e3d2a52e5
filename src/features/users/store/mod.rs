//! SQL of `users`; `vendors` holds that of their accounts at payment vendors, `profile_sync` that of profiles that the identity
//! provider changes.

pub mod profile_sync;
pub mod vendors;

use chrono::{DateTime, Utc};

use crate::features::users::model::{Identity, UpdateUser, User, UserRead};
use crate::platform::auth::Role;
use crate::platform::db::{Db, Executor, Tx, query};
use crate::platform::email_address::unicode_email;
use crate::platform::http::list::{Filter, List, ListSql};
use crate::platform::id::UserId;
use crate::sql;

/// The columns of a [`User`].
const USER: &str = "id, email, full_name, avatar_url, role, is_active, stripe_customer_id, subscription_status, subscription_plan,
    apple_original_transaction_id, google_purchase_token, last_login_at, login_count, created_at, updated_at";
/// The columns of a [`UserRead`].
const USER_READ: &str = "id, email, full_name, avatar_url, role, is_active, subscription_plan, subscription_status, created_at";

/// A user to be inserted.
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

/// The form of a normalized address in which an earlier version may have stored it; otherwise the address itself.
fn earlier_form(email: &str) -> String {
    unicode_email(email).unwrap_or_else(|| email.to_owned())
}

/// Inserts the user; returns `false` if the id or e-mail address is taken.
pub async fn insert(on: impl Into<Executor<'_>>, user: &NewUser, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let made = query(
        on,
        sql!(
            "INSERT INTO users (id, email, full_name, avatar_url, role, is_active, last_login_at, login_count, created_at, updated_at)
             SELECT $1, $2, $3, $4, $5, TRUE, $6, $7, $8, $8 WHERE NOT EXISTS (SELECT 1 FROM users WHERE email = $9)
             ON CONFLICT DO NOTHING"
        ),
    );
    let made = made.bind(&user.id).bind(&user.email).bind(&user.full_name).bind(&user.avatar_url).bind(user.role);
    let made = made.bind(user.last_login_at).bind(user.login_count).bind(now).bind(earlier_form(&user.email));
    Ok(made.execute().await? == 1)
}

/// A user's own view and last login, read in one statement for authentication and response.
#[derive(sqlx::FromRow)]
pub struct OwnRow {
    #[sqlx(flatten)]
    pub user: UserRead,
    pub last_login_at: Option<DateTime<Utc>>,
}

/// Reads the row used to authenticate a user and to answer `GET /app/users/me`.
pub async fn own_row(on: impl Into<Executor<'_>>, id: &UserId) -> sqlx::Result<Option<OwnRow>> {
    query(on, sql!("SELECT ", USER_READ, ", last_login_at FROM users WHERE id = $1")).bind(id).fetch_optional().await
}

pub async fn by_id(on: impl Into<Executor<'_>>, id: &UserId) -> sqlx::Result<Option<User>> {
    query(on, sql!("SELECT ", USER, " FROM users WHERE id = $1")).bind(id).fetch_optional().await
}

/// Returns the user with a normalized address.
pub async fn by_email(on: impl Into<Executor<'_>>, email: &str) -> sqlx::Result<Option<User>> {
    let find = query(on, sql!("SELECT ", USER, " FROM users WHERE email IN ($1, $2) ORDER BY email <> $1 LIMIT 1"));
    find.bind(email).bind(earlier_form(email)).fetch_optional().await
}

/// The columns that users see of themselves.
pub async fn own_view(on: impl Into<Executor<'_>>, id: &UserId) -> sqlx::Result<Option<UserRead>> {
    query(on, sql!("SELECT ", USER_READ, " FROM users WHERE id = $1")).bind(id).fetch_optional().await
}

/// Locks the row until the transaction ends.
pub async fn lock(db: &Db, tx: &mut Tx, id: &UserId) -> sqlx::Result<Option<Identity>> {
    // SQLite has no FOR UPDATE: a write transaction locks the whole database.
    let text = db.pick(
        sql!(pg: "SELECT role, is_active, last_login_at FROM users WHERE id = $1 FOR UPDATE"),
        sql!(lite: "SELECT role, is_active, last_login_at FROM users WHERE id = $1"),
    );
    query(tx, text).bind(id).fetch_optional().await
}

/// What decides about a change by an administrator.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Standing {
    pub id: UserId,
    pub role: Role,
    pub is_active: bool,
}

/// Locks the rows of a user and of who changes it until the transaction ends, in the order of their ids, so that two users who
/// change each other do not wait for each other forever.
pub async fn lock_both(db: &Db, tx: &mut Tx, target: &UserId, actor: Option<&UserId>) -> sqlx::Result<Vec<Standing>> {
    // SQLite has no FOR UPDATE: a write transaction locks the whole database.
    let text = db.pick(
        sql!(pg: "SELECT id, role, is_active FROM users WHERE id IN ($1, $2) ORDER BY id FOR UPDATE"),
        sql!(lite: "SELECT id, role, is_active FROM users WHERE id IN ($1, $2)"),
    );
    query(tx, text).bind(target).bind(actor).fetch_all().await
}

/// Returns whether an active user other than this one has an administrator's role.
pub async fn any_admin(on: impl Into<Executor<'_>>, but: Option<&UserId>) -> sqlx::Result<bool> {
    let other = query(
        on,
        sql!("SELECT id FROM users WHERE role IN ('admin', 'superadmin') AND is_active = TRUE AND (id <> $1 OR $1 IS NULL) LIMIT 1"),
    );
    Ok(other.bind(but).fetch_optional::<(UserId,)>().await?.is_some())
}

pub async fn id_of_email(on: impl Into<Executor<'_>>, email: &str) -> sqlx::Result<Option<UserId>> {
    let find = query(on, sql!("SELECT id FROM users WHERE email IN ($1, $2) ORDER BY email <> $1 LIMIT 1"));
    let row: Option<(UserId,)> = find.bind(email).bind(earlier_form(email)).fetch_optional().await?;
    Ok(row.map(|(id,)| id))
}

/// Counts a login unless another request has already counted it.
pub async fn count_login(
    on: impl Into<Executor<'_>>,
    id: &UserId,
    at: DateTime<Utc>,
    only_after: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    query(
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
    .execute()
    .await
}

/// Counts a login of an active user and locks the row until the transaction ends; returns whether there is such a user.
pub async fn count_own_login(on: impl Into<Executor<'_>>, id: &UserId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let count = query(
        on,
        sql!("UPDATE users SET login_count = login_count + 1, last_login_at = $2, updated_at = $2 WHERE id = $1 AND is_active = TRUE"),
    );
    Ok(count.bind(id).bind(now).execute().await? == 1)
}

pub async fn update(on: impl Into<Executor<'_>>, id: &UserId, change: &UpdateUser, now: DateTime<Utc>) -> sqlx::Result<u64> {
    query(
        on,
        sql!(
            "UPDATE users SET full_name = CASE WHEN $2 THEN $3 ELSE full_name END, avatar_url = CASE WHEN $4 THEN $5 ELSE avatar_url END,
             role = COALESCE($6, role), is_active = COALESCE($7, is_active), updated_at = $8 WHERE id = $1"
        ),
    )
    .bind(id)
    .bind(change.full_name.is_some())
    .bind(change.full_name.as_ref().and_then(Option::as_ref))
    .bind(change.avatar_url.is_some())
    .bind(change.avatar_url.as_ref().and_then(Option::as_ref))
    .bind(change.role)
    .bind(change.is_active)
    .bind(now)
    .execute()
    .await
}

/// All users, newest first; only active or only deactivated ones with `active`.
pub fn list(active: Option<bool>) -> List<User> {
    let sql = ListSql {
        page: sql!(
            "SELECT ",
            USER,
            ", (SELECT COUNT(*) FROM users WHERE is_active = $1 OR $1 IS NULL) AS total
             FROM users WHERE is_active = $1 OR $1 IS NULL ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3"
        ),
        count: sql!("SELECT COUNT(*) FROM users WHERE is_active = $1 OR $1 IS NULL"),
        after: sql!(
            "SELECT ",
            USER,
            " FROM users WHERE (is_active = $1 OR $1 IS NULL) AND (created_at, id) < ($2, $3)
             ORDER BY created_at DESC, id DESC LIMIT $4"
        ),
    };
    List::newest_first("users", sql).filter(Filter::OptionalFlag(active))
}

/// The numbers of active and of deactivated users.
pub async fn count_by_status(on: impl Into<Executor<'_>>) -> sqlx::Result<Vec<(bool, i64)>> {
    query(on, sql!("SELECT is_active, COUNT(*) FROM users GROUP BY is_active")).fetch_all().await
}

/// The numbers of active subscriptions by plan.
pub async fn count_by_plan(on: impl Into<Executor<'_>>) -> sqlx::Result<Vec<(String, i64)>> {
    query(
        on,
        sql!(
            "SELECT COALESCE(subscription_plan, 'free'), COUNT(*) FROM users
             WHERE subscription_status IN ('active', 'trialing') GROUP BY COALESCE(subscription_plan, 'free')"
        ),
    )
    .fetch_all()
    .await
}

/// Returns whether any user exists.
pub async fn any(on: impl Into<Executor<'_>>) -> sqlx::Result<bool> {
    Ok(query(on, sql!("SELECT id FROM users LIMIT 1")).fetch_optional::<(UserId,)>().await?.is_some())
}

/// The numbers of all users, of those who logged in since `active_since`, and of those made since `new_since`.
pub async fn figures(on: impl Into<Executor<'_>>, active_since: DateTime<Utc>, new_since: DateTime<Utc>) -> sqlx::Result<(i64, i64, i64)> {
    let counts = query(
        on,
        sql!("SELECT COUNT(*), COUNT(CASE WHEN last_login_at >= $1 THEN 1 END), COUNT(CASE WHEN created_at >= $2 THEN 1 END) FROM users"),
    );
    counts.bind(active_since).bind(new_since).fetch_one().await
}

pub async fn erase(on: impl Into<Executor<'_>>, id: &UserId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM users WHERE id = $1")).bind(id).execute().await
}
