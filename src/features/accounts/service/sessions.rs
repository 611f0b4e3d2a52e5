//! Sessions: opened by a proof, kept alive by refresh tokens that are used once each, ended by many things.

use chrono::{DateTime, TimeDelta, Utc};

use super::{WRONG, count_event, store, users};
use crate::app::App;
use crate::features::accounts::model::{Device, RefreshToken, Session, SessionId, Sessions};
use crate::features::accounts::store::{NewSession, SessionRow};
use crate::features::accounts::tokens::{self, Presented};
use crate::features::users::extract::CurrentUser;
use crate::features::users::model::{User, UserId, UserRead};
use crate::platform::auth::{Claims, own};
use crate::platform::db::{Tx, retry_contended};
use crate::platform::error::{Error, Result};
use crate::platform::telemetry::metrics::METRICS;

/// A token that has just been exchanged still answers its successor, for the other tab that sent it at the same moment.
const GRACE: TimeDelta = TimeDelta::seconds(10);

const INVALID: Error = Error::Unauthenticated("Invalid refresh token");

/// The password that was right, by its hash; and a new hash of it where one is due.
#[derive(Clone)]
pub(super) struct Proof {
    pub hash: String,
    pub renewed: Option<String>,
}

/// Opens a session on a password, unless that was changed, or its owner deactivated, while it was compared.
pub(super) async fn open(app: &App, user: User, proof: Proof, device: Device) -> Result<Session> {
    let now = app.clock.now();
    let row = retry_contended(|| async {
        let mut tx = app.db.begin().await?;
        // First: holds off whoever wants to end all sessions until this one is there to be ended.
        if !users::count_login(&mut tx, &user.id, now).await? {
            return Err(Error::Forbidden("Account is deactivated"));
        }
        let present = store::credentials(&mut tx, user.id.clone()).await?;
        if present.is_none_or(|present| present.password_hash != proof.hash) {
            return Err(WRONG);
        }
        if let Some(renewed) = &proof.renewed {
            store::renew_hash(&mut tx, user.id.clone(), proof.hash.clone(), renewed.clone()).await?;
        }
        let row = insert(app, &mut tx, &user.id, device.clone(), now).await?;
        tx.commit().await?;
        Ok(row)
    })
    .await?;
    app.identities.drop_everywhere(user.id.as_str());
    answer(app, &row, user.into(), now)
}

/// A session of a user, in a transaction that has made sure of them.
pub(super) async fn insert(app: &App, tx: &mut Tx, user: &UserId, device: Device, now: DateTime<Utc>) -> Result<SessionRow> {
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
        user_agent: device.user_agent,
        ip_address: Some(device.address.to_string()),
        now,
        expires_at: row.expires_at,
    };
    store::insert_session(tx, new).await?;
    Ok(row)
}

/// What the client gets of a session.
pub(super) fn answer(app: &App, row: &SessionRow, user: UserRead, now: DateTime<Utc>) -> Result<Session> {
    let generation = u32::try_from(row.generation).map_err(anyhow::Error::new)?;
    Ok(Session {
        access_token: access_token(app, row.id, user.id.as_str(), &user.email, now)?,
        token_type: "bearer",
        expires_in: app.config.auth.access_ttl.as_secs().try_into().unwrap_or(i64::MAX),
        refresh_token: tokens::refresh(&app.keys, &row.seed, row.id, generation),
        refresh_expires_in: (row.expires_at - now).num_seconds(),
        user,
    })
}

pub(super) fn access_token(app: &App, session: SessionId, user: &str, email: &str, now: DateTime<Utc>) -> Result<String> {
    METRICS.token_operations.with_label_values(&["issued"]).inc();
    Ok(own::mint(&app.keys, user, email, &session.to_string(), now, app.config.auth.access_ttl)?)
}

fn expiry(app: &App, created_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let accounts = &app.config.accounts;
    (now + accounts.refresh_idle).min(created_at + accounts.refresh_max)
}

/// Exchanges a refresh token for its successor.
///
/// A token that was exchanged before is somebody's copy: its session ends, whoever has the other one.
pub async fn refresh(app: &App, body: &RefreshToken) -> Result<Session> {
    let now = app.clock.now();
    let presented = Presented::read(&body.refresh_token).ok_or(INVALID)?;
    // Twice, for another request may exchange the same token between our look and our move.
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
                tracing::warn!(user_id = row.user_id.as_str(), session_id = %row.id, "refresh_reuse: session ended");
            }
            return Err(INVALID);
        };
        let user = users::active(app, row.user_id.clone()).await?.ok_or(INVALID)?;
        count_event("token_refresh");
        return answer(app, &row, user, now);
    }
    Err(INVALID)
}

/// The session of a token that we made.
async fn signed(app: &App, presented: &Presented) -> Result<SessionRow> {
    let row = store::session(&app.db, presented.session).await?.ok_or(INVALID)?;
    if presented.is_signed(&app.keys, &row.seed) { Ok(row) } else { Err(INVALID) }
}

/// Ends the session of a refresh token, exchanged or not; a token that is none ends nothing.
pub async fn log_out(app: &App, body: &RefreshToken) -> Result<()> {
    let Some(presented) = Presented::read(&body.refresh_token) else { return Ok(()) };
    match signed(app, &presented).await {
        Ok(row) => {
            if end(app, row.id, &row.user_id, "logout").await? {
                count_event("logout");
            }
            Ok(())
        }
        Err(Error::Unauthenticated(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses a token of our own whose session has ended.
pub async fn check_session(app: &App, claims: &Claims) -> Result<()> {
    let Some(session) = &claims.session else { return Ok(()) };
    let now = app.clock.now();
    let known = if let Some(known) = app.sessions.get(session, now) {
        known
    } else {
        let epoch = app.sessions.epoch();
        let known = match SessionId::parse(session) {
            Some(id) => store::open_session(&app.db, id).await?,
            None => None,
        };
        app.sessions.put(session, known.clone(), epoch, now);
        known
    };
    if known.is_some_and(|open| open.user_id == *claims.subject && open.expires_at > now) {
        return Ok(());
    }
    METRICS.auth_failures.with_label_values(&["invalid_token"]).inc();
    Err(Error::Unauthenticated("The session has ended"))
}

/// The session that a request belongs to.
pub(super) fn current(user: &CurrentUser) -> Option<SessionId> {
    SessionId::parse(user.claims.session.as_deref()?)
}

pub async fn list(app: &App, user: &CurrentUser) -> Result<Sessions> {
    let mut items = store::open_sessions(&app.db, user.id.clone(), app.clock.now()).await?;
    let current = current(user);
    for session in &mut items {
        session.current = Some(session.id) == current;
    }
    Ok(Sessions { items })
}

/// Ends one of the caller's sessions.
pub async fn end_session(app: &App, user: &CurrentUser, id: &str) -> Result<()> {
    let not_found = || Error::not_found("Session", id);
    let known = SessionId::parse(id).ok_or_else(not_found)?;
    if !end(app, known, &user.id, "ended_by_user").await? {
        return Err(not_found());
    }
    count_event("logout");
    Ok(())
}

pub async fn log_out_everywhere(app: &App, user: &CurrentUser) -> Result<()> {
    let mut tx = app.db.begin().await?;
    end_all(app, &mut tx, &user.id, None, "logout_all").await?;
    tx.commit().await?;
    count_event("logout");
    Ok(())
}

async fn end(app: &App, id: SessionId, user: &UserId, reason: &'static str) -> Result<bool> {
    let ended = store::end(&app.db, id, user.clone(), reason, app.clock.now()).await?;
    if ended {
        forget(app, id);
    }
    Ok(ended)
}

/// Ends every session of a user but one, from the moment of the commit.
pub(super) async fn end_all(app: &App, tx: &mut Tx, user: &UserId, but: Option<SessionId>, reason: &'static str) -> Result<()> {
    let ended = store::end_all(&mut *tx, user.clone(), but, reason, app.clock.now()).await?;
    let app = app.clone();
    tx.after_commit(move || ended.into_iter().for_each(|id| forget(&app, id)));
    Ok(())
}

fn forget(app: &App, id: SessionId) {
    METRICS.token_operations.with_label_values(&["revoked"]).inc();
    app.sessions.drop_everywhere(&id.to_string());
}
