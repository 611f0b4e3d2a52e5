//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a repeated request gets the first answer
//! again, and nothing is done twice.
//!
//! For requests that touch nothing but the database: key, answer and change are one transaction, and a
//! parallel twin waits for it. Only successful answers are kept. A handler needs three lines:
//!
//! ```text
//! let mut once = match Once::begin(&app.db, &app.keys, user.id(), body.key, now).await? { Start::Replay(answer) => return Ok(answer), Start::Run(once) => once };
//! let project = service::create(&app, once.on(), ..).await?;
//! once.finish(StatusCode::CREATED, &project).await
//! ```

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::platform::crypto::{self, Keys};
use crate::platform::db::{Db, On, Tx, q};
use crate::platform::error::{Error, Result};
use crate::sql;

/// How long an answer is kept.
const LIFE: TimeDelta = TimeDelta::hours(24);
const PURPOSE: &str = "idempotency-answer";

/// The key of a request, and what the request was.
#[derive(Debug, Clone)]
pub struct Key {
    key: String,
    /// Hash of method, path, query and body.
    fingerprint: String,
}

impl Key {
    /// `None` without the header; invalid unless it is 1 to 255 visible ASCII characters.
    pub fn read(parts: &Parts, body: &[u8]) -> Result<Option<Self>> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(None) };
        let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()));
        let key = key.ok_or_else(|| Error::invalid("Idempotency-Key", "format", "Must be 1 to 255 visible ASCII characters"))?;
        let uri = parts.extensions.get::<axum::extract::OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
        let hash =
            crypto::hash(&[parts.method.as_str().as_bytes(), uri.path().as_bytes(), uri.query().unwrap_or_default().as_bytes(), body]);
        let fingerprint = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, hash);
        Ok(Some(Self { key: key.to_owned(), fingerprint }))
    }
}

/// What to do with a request.
pub enum Start {
    /// It was done before: this is the first answer.
    Replay(Response),
    Run(Once),
}

/// A request about to do its work, in a transaction if it carries a key.
pub struct Once(Work);

#[expect(clippy::large_enum_variant, reason = "lives on the stack of one request")]
enum Work {
    /// Without a key: single statements, no transaction.
    Plain(Db),
    Keyed {
        tx: Tx,
        user: String,
        key: Key,
        keys: Keys,
    },
}

#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Once {
    /// Looks the key up. A parallel twin waits here until the first one has committed or given up.
    pub async fn begin(db: &Db, keys: &Keys, user: &str, key: Option<Key>, now: DateTime<Utc>) -> Result<Start> {
        let Some(key) = key else { return Ok(Start::Run(Self(Work::Plain(db.clone())))) };
        let mut tx = db.begin().await?;
        let claimed = q(
            &mut tx,
            sql!(
                "INSERT INTO idempotency_keys (user_id, key, fingerprint, answer, created_at, expires_at) VALUES ($1, $2, $3, NULL, $4, $5)
                 ON CONFLICT (user_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, answer = NULL, created_at = excluded.created_at, expires_at = excluded.expires_at
                 WHERE idempotency_keys.expires_at <= excluded.created_at"
            ),
        );
        let claimed =
            claimed.bind(user.to_owned()).bind(key.key.clone()).bind(key.fingerprint.clone()).bind(now).bind(now + LIFE).exec().await?;
        if claimed == 1 {
            return Ok(Start::Run(Self(Work::Keyed { tx, user: user.to_owned(), key, keys: keys.clone() })));
        }
        let kept: Option<(String, Option<Vec<u8>>)> =
            q(&mut tx, sql!("SELECT fingerprint, answer FROM idempotency_keys WHERE user_id = $1 AND key = $2"))
                .bind(user.to_owned())
                .bind(key.key.clone())
                .opt()
                .await?;
        match kept {
            Some((fingerprint, _)) if fingerprint != key.fingerprint => {
                Err(Error::invalid("Idempotency-Key", "reused", "This key was used for another request"))
            }
            Some((_, Some(sealed))) => {
                let plain = crypto::open(&keys.derive(PURPOSE), context(user, &key).as_bytes(), &sealed)?;
                let answer: Answer = serde_json::from_slice(&plain).map_err(anyhow::Error::from)?;
                Ok(Start::Replay(answer.into_replay()?))
            }
            // The key expired or was given back between the two statements; the client's next try finds it free.
            _ => Err(Error::Contended),
        }
    }

    /// What the work's statements run on.
    pub fn on(&mut self) -> On<'_> {
        match &mut self.0 {
            Work::Plain(db) => On::from(&*db),
            Work::Keyed { tx, .. } => On::from(tx),
        }
    }

    /// Keeps the answer with the change, commits both, and gives the answer.
    pub async fn finish<T: Serialize>(self, status: StatusCode, location: Option<String>, body: &T) -> Result<Response> {
        let answer = Answer { status: status.as_u16(), location, body: serde_json::to_string(body).map_err(anyhow::Error::from)? };
        if let Work::Keyed { mut tx, user, key, keys } = self.0 {
            let plain = serde_json::to_vec(&answer).map_err(anyhow::Error::from)?;
            let sealed = crypto::seal(&keys.derive(PURPOSE), context(&user, &key).as_bytes(), &plain)?;
            let kept = q(&mut tx, sql!("UPDATE idempotency_keys SET answer = $1 WHERE user_id = $2 AND key = $3"));
            kept.bind(sealed).bind(user).bind(key.key).exec().await?;
            tx.commit().await?;
        }
        answer.into_response()
    }
}

impl Answer {
    fn into_response(self) -> Result<Response> {
        let status = StatusCode::from_u16(self.status).map_err(anyhow::Error::from)?;
        let mut response = (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], self.body).into_response();
        if let Some(location) = self.location {
            response.headers_mut().insert(header::LOCATION, HeaderValue::try_from(location).map_err(anyhow::Error::from)?);
        }
        Ok(response)
    }

    fn into_replay(self) -> Result<Response> {
        let mut response = self.into_response()?;
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        Ok(response)
    }
}

/// Binds a sealed answer to its row.
fn context(user: &str, key: &Key) -> String {
    format!("{user}\n{}\n{}", key.key, key.fingerprint)
}

/// Removes a bounded number of expired keys; says how many.
pub async fn sweep(db: &Db, now: DateTime<Utc>) -> sqlx::Result<u64> {
    q(
        db,
        sql!(
            "DELETE FROM idempotency_keys WHERE (user_id, key) IN
             (SELECT user_id, key FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT 1000)"
        ),
    )
    .bind(now)
    .exec()
    .await
}

/// Removes every key of a user, with its answers.
pub async fn erase(on: impl Into<On<'_>>, user: &str) -> sqlx::Result<u64> {
    q(on, sql!("DELETE FROM idempotency_keys WHERE user_id = $1")).bind(user.to_owned()).exec().await
}
