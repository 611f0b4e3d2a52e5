//! SQL of `credentials`, `sessions`, `one_time_tokens` and `ws_tickets`.

pub mod login_failures;
pub mod registrations;

use chrono::{DateTime, Utc};

use crate::features::accounts::model::{OpenSession, SessionId, SessionRead};
use crate::features::accounts::tokens::Purpose;
use crate::platform::db::{Db, Executor, Tx, query};
use crate::platform::id::UserId;
use crate::sql;

/// Maximum number of open sessions of one user.
const OPEN: i64 = 100;
/// Maximum number of rows that one statement of the sweep removes.
const SWEEP: i64 = 1000;

/// A user's password and verification.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Credentials {
    pub password_hash: String,
    pub email_verified_at: Option<DateTime<Utc>>,
    /// When the address was registered again before it was verified.
    pub registered_again_at: Option<DateTime<Utc>>,
}

/// The columns of `sessions` that a refresh needs.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SessionRow {
    pub id: SessionId,
    pub user_id: UserId,
    pub seed: Vec<u8>,
    pub generation: i64,
    pub rotated_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A session about to be opened.
pub struct NewSession {
    pub id: SessionId,
    pub user_id: UserId,
    pub seed: Vec<u8>,
    pub user_agent: Option<String>,
    pub ip_address: Option<String>,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

pub async fn credentials(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<Option<Credentials>> {
    query(on, sql!("SELECT password_hash, email_verified_at, registered_again_at FROM credentials WHERE user_id = $1"))
        .bind(user)
        .fetch_optional()
        .await
}

/// Inserts or replaces the password. `verified_at` marks an unverified address as verified.
pub async fn set_password(
    on: impl Into<Executor<'_>>,
    user: &UserId,
    hash: &str,
    verified_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let set = query(
        on,
        sql!(
            "INSERT INTO credentials (user_id, password_hash, email_verified_at, password_changed_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash, password_changed_at = excluded.password_changed_at,
             email_verified_at = COALESCE(credentials.email_verified_at, excluded.email_verified_at)"
        ),
    );
    set.bind(user).bind(hash).bind(verified_at).bind(now).execute().await?;
    Ok(())
}

/// Replaces a hash with a new hash of the same password, unless the password has changed since.
pub async fn renew_hash(on: impl Into<Executor<'_>>, user: &UserId, old: &str, new: &str) -> sqlx::Result<()> {
    query(on, sql!("UPDATE credentials SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2"))
        .bind(user)
        .bind(old)
        .bind(new)
        .execute()
        .await?;
    Ok(())
}

/// Marks the address as verified; returns whether it was not verified before.
pub async fn verify_email(on: impl Into<Executor<'_>>, user: &UserId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let verify = query(on, sql!("UPDATE credentials SET email_verified_at = $2 WHERE user_id = $1 AND email_verified_at IS NULL"));
    Ok(verify.bind(user).bind(now).execute().await? == 1)
}

pub async fn insert_session(on: impl Into<Executor<'_>>, new: &NewSession) -> sqlx::Result<()> {
    let insert = query(
        on,
        sql!(
            "INSERT INTO sessions (id, user_id, seed, generation, user_agent, ip_address, created_at, last_used_at, expires_at)
             VALUES ($1, $2, $3, 0, $4, $5, $6, $6, $7)"
        ),
    );
    let insert = insert.bind(new.id).bind(&new.user_id).bind(&new.seed).bind(&new.user_agent).bind(&new.ip_address);
    insert.bind(new.now).bind(new.expires_at).execute().await?;
    Ok(())
}

pub async fn session(on: impl Into<Executor<'_>>, id: SessionId) -> sqlx::Result<Option<SessionRow>> {
    query(on, sql!("SELECT id, user_id, seed, generation, rotated_at, created_at, expires_at, revoked_at FROM sessions WHERE id = $1"))
        .bind(id)
        .fetch_optional()
        .await
}

/// Returns the session if it is open.
pub async fn open_session(on: impl Into<Executor<'_>>, id: SessionId) -> sqlx::Result<Option<OpenSession>> {
    query(on, sql!("SELECT user_id, expires_at FROM sessions WHERE id = $1 AND revoked_at IS NULL")).bind(id).fetch_optional().await
}

/// Increments the session's generation; returns `false` if another request has done so or the session has ended.
pub async fn rotate(
    on: impl Into<Executor<'_>>,
    id: SessionId,
    generation: i64,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let rotate = query(
        on,
        sql!(
            "UPDATE sessions SET generation = generation + 1, rotated_at = $3, last_used_at = $3, expires_at = $4
             WHERE id = $1 AND generation = $2 AND revoked_at IS NULL AND expires_at > $3"
        ),
    );
    Ok(rotate.bind(id).bind(generation).bind(now).bind(expires_at).execute().await? == 1)
}

/// Ends one session of a user; returns whether it was open.
pub async fn end(
    on: impl Into<Executor<'_>>,
    id: SessionId,
    user: &UserId,
    reason: &'static str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let end = query(
        on,
        sql!(
            "UPDATE sessions SET revoked_at = $4, revoked_reason = $3
             WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > $4"
        ),
    );
    Ok(end.bind(id).bind(user).bind(reason).bind(now).execute().await? == 1)
}

/// Ends every session of a user except the given one; returns the ended ones.
pub async fn end_all(
    on: impl Into<Executor<'_>>,
    user: &UserId,
    but: Option<SessionId>,
    reason: &'static str,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<SessionId>> {
    let end = query(
        on,
        sql!(
            "UPDATE sessions SET revoked_at = $4, revoked_reason = $3
             WHERE user_id = $1 AND id <> $2 AND revoked_at IS NULL RETURNING id"
        ),
    );
    let but = but.map_or_else(String::new, |id| id.to_string());
    let ended: Vec<(SessionId,)> = end.bind(user).bind(but).bind(reason).bind(now).fetch_all().await?;
    Ok(ended.into_iter().map(|(id,)| id).collect())
}

/// Ends the least recently used sessions of a user, so that one more can be opened; returns the ended ones.
pub async fn make_room(
    on: impl Into<Executor<'_>>,
    user: &UserId,
    reason: &'static str,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<SessionId>> {
    let end = query(
        on,
        sql!(
            "UPDATE sessions SET revoked_at = $2, revoked_reason = $3 WHERE id IN (
                 SELECT id FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2
                 ORDER BY last_used_at DESC, id DESC LIMIT $5 OFFSET $4) RETURNING id"
        ),
    );
    let ended: Vec<(SessionId,)> = end.bind(user).bind(now).bind(reason).bind(OPEN - 1).bind(SWEEP).fetch_all().await?;
    Ok(ended.into_iter().map(|(id,)| id).collect())
}

/// Returns up to 500 different addresses that the user has logged in from, as far back as sessions are kept.
pub async fn addresses(on: impl Into<Executor<'_>>, user: &str) -> sqlx::Result<Vec<String>> {
    let rows = query(on, sql!("SELECT DISTINCT ip_address FROM sessions WHERE user_id = $1 AND ip_address IS NOT NULL LIMIT 500"));
    let rows: Vec<(String,)> = rows.bind(user).fetch_all().await?;
    Ok(rows.into_iter().map(|(address,)| address).collect())
}

/// Returns a user's open sessions, most recently used first.
pub async fn open_sessions(on: impl Into<Executor<'_>>, user: &UserId, now: DateTime<Utc>) -> sqlx::Result<Vec<SessionRead>> {
    let rows = query(
        on,
        sql!(
            "SELECT id, created_at, last_used_at, ip_address, user_agent FROM sessions
             WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY last_used_at DESC, id DESC LIMIT $3"
        ),
    );
    rows.bind(user).bind(now).bind(OPEN).fetch_all().await
}

/// Stores a mailed token; returns whether it is new.
pub async fn insert_token(
    on: impl Into<Executor<'_>>,
    hash: &str,
    user: &UserId,
    purpose: Purpose,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let insert = query(
        on,
        sql!("INSERT INTO one_time_tokens (token_hash, user_id, purpose, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"),
    );
    Ok(insert.bind(hash).bind(user).bind(purpose).bind(expires_at).execute().await? == 1)
}

/// Revokes a user's unused tokens of one purpose, except one.
pub async fn end_tokens(on: impl Into<Executor<'_>>, user: &UserId, purpose: Purpose, but: &str, now: DateTime<Utc>) -> sqlx::Result<()> {
    let end = query(
        on,
        sql!("UPDATE one_time_tokens SET used_at = $4 WHERE user_id = $1 AND purpose = $2 AND token_hash <> $3 AND used_at IS NULL"),
    );
    end.bind(user).bind(purpose).bind(but).bind(now).execute().await?;
    Ok(())
}

/// Revokes every unused token of a user.
pub async fn end_all_tokens(on: impl Into<Executor<'_>>, user: &UserId, now: DateTime<Utc>) -> sqlx::Result<()> {
    query(on, sql!("UPDATE one_time_tokens SET used_at = $2 WHERE user_id = $1 AND used_at IS NULL"))
        .bind(user)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// Returns the owner of an unused token.
pub async fn token_owner(on: impl Into<Executor<'_>>, hash: &str, purpose: Purpose, now: DateTime<Utc>) -> sqlx::Result<Option<UserId>> {
    let owner = query(
        on,
        sql!("SELECT user_id FROM one_time_tokens WHERE token_hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3"),
    );
    let row: Option<(UserId,)> = owner.bind(hash).bind(purpose).bind(now).fetch_optional().await?;
    Ok(row.map(|(user,)| user))
}

/// Consumes a token; returns whether it was valid.
pub async fn use_token(on: impl Into<Executor<'_>>, hash: &str, purpose: Purpose, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let used = query(
        on,
        sql!("UPDATE one_time_tokens SET used_at = $3 WHERE token_hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3"),
    );
    Ok(used.bind(hash).bind(purpose).bind(now).execute().await? == 1)
}

pub async fn insert_ticket(
    on: impl Into<Executor<'_>>,
    hash: &str,
    user: &UserId,
    claims: &str,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let insert = query(on, sql!("INSERT INTO ws_tickets (ticket_hash, user_id, claims, expires_at) VALUES ($1, $2, $3, $4)"));
    insert.bind(hash).bind(user).bind(claims).bind(expires_at).execute().await?;
    Ok(())
}

/// Removes and returns a ticket. Atomic: only one of several concurrent requests gets it.
pub async fn take_ticket(on: impl Into<Executor<'_>>, hash: &str, now: DateTime<Utc>) -> sqlx::Result<Option<String>> {
    let take = query(on, sql!("DELETE FROM ws_tickets WHERE ticket_hash = $1 AND expires_at > $2 RETURNING claims"));
    let taken: Vec<(String,)> = take.bind(hash).bind(now).fetch_all().await?;
    Ok(taken.into_iter().next().map(|(claims,)| claims))
}

/// Removes every row of a user; returns the number of rows.
pub async fn erase(tx: &mut Tx, user: &UserId) -> sqlx::Result<u64> {
    let mut rows = 0;
    for text in [
        sql!("DELETE FROM one_time_tokens WHERE user_id = $1"),
        sql!("DELETE FROM registrations WHERE user_id = $1"),
        sql!("DELETE FROM ws_tickets WHERE user_id = $1"),
        sql!("DELETE FROM sessions WHERE user_id = $1"),
        sql!("DELETE FROM credentials WHERE user_id = $1"),
    ] {
        rows += query(&mut *tx, text).bind(user).execute().await?;
    }
    Ok(rows)
}

/// Removes a bounded number of rows that have expired.
pub async fn sweep(db: &Db, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let mut rows = 0;
    for text in [
        sql!("DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 LIMIT $2)"),
        sql!("DELETE FROM one_time_tokens WHERE token_hash IN (SELECT token_hash FROM one_time_tokens WHERE expires_at < $1 LIMIT $2)"),
        sql!("DELETE FROM ws_tickets WHERE ticket_hash IN (SELECT ticket_hash FROM ws_tickets WHERE expires_at < $1 LIMIT $2)"),
        sql!("DELETE FROM registrations WHERE id IN (SELECT id FROM registrations WHERE expires_at < $1 LIMIT $2)"),
        sql!("DELETE FROM login_failures WHERE account IN (SELECT account FROM login_failures WHERE expires_at < $1 LIMIT $2)"),
    ] {
        rows += query(db, text).bind(now).bind(SWEEP).execute().await?;
    }
    Ok(rows)
}
