//! Sessions: opened with a password, extended with single-use refresh tokens (RFC 9700).

use chrono::{DateTime, TimeDelta, Utc};

use super::events::count_event;
use crate::app::App;
use crate::features::accounts::config::Settings;
use crate::features::accounts::model::{AuthSession, Device, RefreshToken, SessionId, SessionList};
use crate::features::accounts::state::State;
use crate::features::accounts::store::{self, NewSession, SessionRow};
use crate::features::accounts::tokens::{self, Presented};
use crate::features::users;
use crate::features::users::model::{User, UserRead};
use crate::features::users::service::accounts;
use crate::platform::actor::CurrentUser;
use crate::platform::auth::{Claims, own};
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::id::{PathId, UserId};
use crate::platform::telemetry::auth_events::AuthEvent;

/// Time for which an exchanged refresh token still returns its successor, because another tab may have sent it concurrently.
const GRACE: TimeDelta = TimeDelta::seconds(10);

const INVALID: Error = Error::Unauthenticated("Invalid refresh token");

/// Hash of the verified password, and a new hash of it if the hashing cost has changed.
#[derive(Clone)]
pub(super) struct Proof {
    pub hash: String,
    pub renewed: Option<String>,
}

/// Opens a session. `None` if the password was changed while it was verified.
pub(super) async fn open(app: &App, user: User, proof: Proof, device: Device) -> Result<Option<AuthSession>> {
    let now = app.clock.now();
    let row = crate::transaction!(app.db, |tx| {
        // First, because it locks the user's row: a concurrent request that ends all sessions waits and then also ends this one.
        if !accounts::count_login(&mut *tx, &user.id, now).await? {
            return Err(Error::Forbidden("Account is deactivated"));
        }
        let present = store::credentials(&mut *tx, &user.id).await?;
        if present.is_none_or(|present| present.password_hash != proof.hash) {
            return Ok(None);
        }
        if let Some(renewed) = &proof.renewed {
            store::renew_hash(&mut *tx, &user.id, &proof.hash, renewed).await?;
        }
        insert(app, tx, &user.id, &device, now).await.map(Some)
    });
    let Some(row) = row? else { return Ok(None) };
    users::service::invalidate(app, &user.id);
    answer(app, &row, user.into(), now).map(Some)
}

/// Inserts a session, in a transaction that has locked the user. Ends the least recently used one if the user has too many.
pub(super) async fn insert(app: &App, tx: &mut Tx, user: &UserId, device: &Device, now: DateTime<Utc>) -> Result<SessionRow> {
    let ended = store::make_room(&mut *tx, user, "too_many_sessions", now).await?;
    if !ended.is_empty() {
        let (app, user) = (app.clone(), user.clone());
        tx.after_commit(move || {
            AuthEvent::of_user("session_end", &user).detail("too_many_sessions").succeeded();
            for id in ended {
                forget(&app, id);
            }
        });
    }
    let row = SessionRow {
        id: SessionId::new(),
        user_id: user.clone(),
        seed: tokens::seed()?,
        generation: 0,
        rotated_at: None,
        created_at: now,
        expires_at: expiry(app, now, now),
        revoked_at: None,
    };
    let new = NewSession {
        id: row.id,
        user_id: user.clone(),
        seed: row.seed.clone(),
        user_agent: device.user_agent.clone(),
        ip_address: Some(device.address.to_string()),
        now,
        expires_at: row.expires_at,
    };
    store::insert_session(tx, &new).await?;
    Ok(row)
}

/// Returns the session and its tokens as sent to the client.
pub(super) fn answer(app: &App, row: &SessionRow, user: UserRead, now: DateTime<Utc>) -> Result<AuthSession> {
    let generation = u32::try_from(row.generation).map_err(anyhow::Error::new)?;
    Ok(AuthSession {
        access_token: access_token(app, row.id, &user.id, &user.email, now)?,
        token_type: "bearer",
        expires_in: app.config.auth.access_ttl.as_secs().try_into().unwrap_or(i64::MAX),
        refresh_token: tokens::refresh(&app.keys, &row.seed, row.id, generation),
        refresh_expires_in: (row.expires_at - now).num_seconds(),
        user,
    })
}

pub(super) fn access_token(app: &App, session: SessionId, user: &UserId, email: &str, now: DateTime<Utc>) -> Result<String> {
    app.metrics.token_operations.with_label_values(&["issued"]).inc();
    Ok(own::mint(&app.keys, user, email, &session.to_string(), now, app.config.auth.access_ttl)?)
}

fn expiry(app: &App, created_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let settings = app.settings::<Settings>();
    (now + settings.refresh_idle).min(created_at + settings.refresh_max)
}

/// Exchanges a refresh token for its successor.
///
/// Reuse of an exchanged token outside the grace period means that it was copied: the session ends (RFC 9700 §4.14.2).
pub async fn refresh(app: &App, body: &RefreshToken) -> Result<AuthSession> {
    let now = app.clock.now();
    let presented = Presented::read(&body.refresh_token).ok_or(INVALID)?;
    // Tried twice, because another request may exchange the same token between the read and the write.
    for _ in 0..2 {
        let row = signed(app, &presented).await?;
        if row.revoked_at.is_some() || row.expires_at <= now {
            return Err(INVALID);
        }
        let behind = row.generation - i64::from(presented.generation);
        let row = if behind == 0 {
            let expires_at = expiry(app, row.created_at, now);
            if !store::rotate(&app.db, row.id, row.generation, now, expires_at).await? {
                continue;
            }
            SessionRow { generation: row.generation + 1, expires_at, ..row }
        } else if behind == 1 && row.rotated_at.is_some_and(|at| now - at <= GRACE) {
            row
        } else {
            if behind > 0 {
                end(app, row.id, &row.user_id, "refresh_reuse").await?;
                AuthEvent::of_user("refresh_reuse", &row.user_id).detail("session_ended").failed();
            }
            return Err(INVALID);
        };
        let user = accounts::active(app, &row.user_id).await?.ok_or(INVALID)?;
        count_event(app, "token_refresh");
        return answer(app, &row, user, now);
    }
    Err(INVALID)
}

/// Returns the session of a token, if its signature is valid.
async fn signed(app: &App, presented: &Presented) -> Result<SessionRow> {
    let row = store::session(&app.db, presented.session).await?.ok_or(INVALID)?;
    if presented.is_signed(&app.keys, &row.seed) { Ok(row) } else { Err(INVALID) }
}

/// Ends the session of a refresh token, even if the token was exchanged already. Invalid tokens are ignored.
pub async fn log_out(app: &App, body: &RefreshToken) -> Result<()> {
    let Some(presented) = Presented::read(&body.refresh_token) else { return Ok(()) };
    match signed(app, &presented).await {
        Ok(row) => {
            if end(app, row.id, &row.user_id, "logout").await? {
                count_event(app, "logout");
                AuthEvent::of_user("logout", &row.user_id).succeeded();
            }
            Ok(())
        }
        Err(Error::Unauthenticated(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses an access token whose session has ended.
pub async fn check_session(app: &App, claims: &Claims) -> Result<()> {
    let Some(session) = &claims.session else { return Ok(()) };
    let now = app.clock.now();
    let known = app.state::<State>().sessions.get_or_load(session, now, async || match SessionId::parse(session) {
        Some(id) => store::open_session(&app.db, id).await,
        None => Ok(None),
    });
    let known = known.await?;
    if known.is_some_and(|open| open.user_id == claims.subject && open.expires_at > now) {
        return Ok(());
    }
    app.metrics.auth_failures.with_label_values(&["invalid_token"]).inc();
    Err(Error::Unauthenticated("The session has ended"))
}

/// Returns the session id of the request's access token.
pub(super) fn current(user: &CurrentUser) -> Option<SessionId> {
    SessionId::parse(user.session.as_deref()?)
}

pub async fn list(app: &App, user: &CurrentUser) -> Result<SessionList> {
    let mut items = store::open_sessions(&app.db, &user.id, app.clock.now()).await?;
    let current = current(user);
    for session in &mut items {
        session.current = Some(session.id) == current;
    }
    // Stable: the others stay most recently used first.
    items.sort_by_key(|session| !session.current);
    Ok(SessionList { items })
}

/// Ends one of the caller's sessions.
pub async fn end_session(app: &App, user: &CurrentUser, id: SessionId) -> Result<()> {
    if !end(app, id, &user.id, "ended_by_user").await? {
        return Err(id.not_found());
    }
    count_event(app, "logout");
    AuthEvent::of_user("session_end", &user.id).detail("ended_by_user").succeeded();
    Ok(())
}

pub async fn log_out_everywhere(app: &App, user: &CurrentUser) -> Result<()> {
    crate::transaction!(app.db, |tx| { end_all(app, tx, &user.id, None, "logout_all").await })?;
    count_event(app, "logout");
    AuthEvent::of_user("logout_all", &user.id).succeeded();
    Ok(())
}

async fn end(app: &App, id: SessionId, user: &UserId, reason: &'static str) -> Result<bool> {
    let ended = store::end(&app.db, id, user, reason, app.clock.now()).await?;
    if ended {
        forget(app, id);
    }
    Ok(ended)
}

/// Ends every session of a user except one. Takes effect when the transaction commits.
pub(super) async fn end_all(app: &App, tx: &mut Tx, user: &UserId, but: Option<SessionId>, reason: &'static str) -> Result<()> {
    let ended = store::end_all(&mut *tx, user, but, reason, app.clock.now()).await?;
    let app = app.clone();
    tx.after_commit(move || ended.into_iter().for_each(|id| forget(&app, id)));
    Ok(())
}

fn forget(app: &App, id: SessionId) {
    app.metrics.token_operations.with_label_values(&["revoked"]).inc();
    app.state::<State>().sessions.invalidate(&id.to_string());
}
