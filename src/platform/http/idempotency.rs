//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a repeated request gets the stored response and has no
//! second effect.
//!
//! Only for requests whose sole effect is on the database: key, response and change are one transaction, and a concurrent
//! request with the same key waits for it. Only successful responses are stored. Handlers wrap their work in [`idempotent`].

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::platform::crypto::{self, KeyRing};
use crate::platform::db::{Db, Executor, Tx, query};
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::sql;

/// TTL of a stored response.
const TTL: TimeDelta = TimeDelta::hours(24);
/// Purpose of the keys that encrypt stored responses.
pub const PURPOSE: &str = "idempotency-answer";

/// The response was stored under an earlier `SECRET_KEY` that is not in `SECRET_KEY_PREVIOUS`. The request took effect, so it
/// must not run again.
const UNREADABLE: Error = Error::Conflict {
    message: "The first request with this Idempotency-Key took effect, but its stored response can no longer be read because the server's key was changed. Look at the result, and use a new key for a new request",
    resource: "",
};

/// The key of a request, and a fingerprint of the request.
#[derive(Debug, Clone)]
pub struct Key {
    key: String,
    /// Hash of method, path, query and body.
    fingerprint: String,
}

impl Key {
    /// Reads the header; `None` without it. Fails unless it is 1 to 255 visible ASCII characters.
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

/// Dependencies of [`idempotent`]: the database that stores responses, and the keys that encrypt them.
#[derive(Clone, Copy)]
pub struct Store<'a> {
    pub db: &'a Db,
    pub keys: &'a KeyRing,
    pub now: DateTime<Utc>,
}

/// The response to a request that created a record.
pub struct Created<T> {
    pub body: T,
    /// The path of the created record.
    pub location: Option<String>,
}

/// Runs `work` once per user and key and returns 201; a repeated request gets the stored response. Fails if the key was used
/// for another request.
///
/// With a key, `work` runs in a transaction together with the key and its response; without a key it runs on the database
/// itself, because a single statement needs no transaction.
pub async fn idempotent<T: Serialize>(
    store: Store<'_>,
    user: &UserId,
    key: Option<Key>,
    work: impl AsyncFnOnce(Executor<'_>) -> Result<Created<T>>,
) -> Result<Response> {
    let Some(key) = key else { return Answer::of(&work(Executor::from(store.db)).await?)?.into_response() };
    let mut tx = match claim(store, user, &key).await? {
        Claim::Answered(answer) => return answer.into_replay(),
        Claim::Free(tx) => tx,
    };
    let created = work(Executor::from(&mut tx)).await?;
    finish(store, user, &key, tx, &created).await
}

/// Like [`idempotent`], for work of several statements: it runs in a transaction without a key, too.
pub async fn idempotent_tx<T: Serialize>(
    store: Store<'_>,
    user: &UserId,
    key: Option<Key>,
    work: impl AsyncFnOnce(&mut Tx) -> Result<Created<T>>,
) -> Result<Response> {
    let Some(key) = key else {
        let mut tx = store.db.begin().await?;
        let answer = Answer::of(&work(&mut tx).await?)?;
        tx.commit().await?;
        return answer.into_response();
    };
    let mut tx = match claim(store, user, &key).await? {
        Claim::Answered(answer) => return answer.into_replay(),
        Claim::Free(tx) => tx,
    };
    let created = work(&mut tx).await?;
    finish(store, user, &key, tx, &created).await
}

/// Stores the response with its key and commits.
async fn finish<T: Serialize>(store: Store<'_>, user: &UserId, key: &Key, mut tx: Tx, created: &Created<T>) -> Result<Response> {
    let answer = Answer::of(created)?;
    let plain = serde_json::to_vec(&answer).map_err(anyhow::Error::from)?;
    let sealed = store.keys.seal(context(user, key).as_bytes(), &plain)?;
    let keep = query(&mut tx, sql!("UPDATE idempotency_keys SET answer = $1 WHERE user_id = $2 AND key = $3"));
    keep.bind(sealed).bind(user).bind(&key.key).execute().await?;
    tx.commit().await?;
    answer.into_response()
}

enum Claim {
    Answered(Answer),
    Free(Tx),
}

/// Claims the key. A concurrent request with the same key waits here until the first one commits or rolls back.
async fn claim(store: Store<'_>, user: &UserId, key: &Key) -> Result<Claim> {
    let mut tx = store.db.begin().await?;
    let claim = query(
        &mut tx,
        sql!(
            "INSERT INTO idempotency_keys (user_id, key, fingerprint, answer, created_at, expires_at) VALUES ($1, $2, $3, NULL, $4, $5)
             ON CONFLICT (user_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, answer = NULL, created_at = excluded.created_at, expires_at = excluded.expires_at
             WHERE idempotency_keys.expires_at <= excluded.created_at"
        ),
    );
    let claimed = claim.bind(user).bind(&key.key).bind(&key.fingerprint).bind(store.now).bind(store.now + TTL).execute().await?;
    if claimed == 1 {
        return Ok(Claim::Free(tx));
    }
    let kept: Option<(String, Option<Vec<u8>>)> =
        query(&mut tx, sql!("SELECT fingerprint, answer FROM idempotency_keys WHERE user_id = $1 AND key = $2"))
            .bind(user)
            .bind(&key.key)
            .fetch_optional()
            .await?;
    match kept {
        Some((fingerprint, _)) if fingerprint != key.fingerprint => {
            Err(Error::invalid("Idempotency-Key", "reused", "This key was used for another request"))
        }
        Some((_, Some(sealed))) => {
            let Some(plain) = store.keys.open(context(user, key).as_bytes(), &sealed) else {
                tracing::warn!("a stored response cannot be decrypted: SECRET_KEY was changed, or the row was altered");
                return Err(UNREADABLE);
            };
            Ok(Claim::Answered(serde_json::from_slice(&plain).map_err(anyhow::Error::from)?))
        }
        // The key expired or was released between the two statements; a retry finds it free.
        _ => Err(Error::Contended),
    }
}

#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Answer {
    fn of<T: Serialize>(created: &Created<T>) -> Result<Self> {
        let body = serde_json::to_string(&created.body).map_err(anyhow::Error::from)?;
        Ok(Self { status: StatusCode::CREATED.as_u16(), location: created.location.clone(), body })
    }

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
fn context(user: &UserId, key: &Key) -> String {
    format!("{user}\n{}\n{}", key.key, key.fingerprint)
}

/// Removes a bounded number of expired keys; returns how many.
pub async fn sweep(db: &Db, now: DateTime<Utc>) -> sqlx::Result<u64> {
    query(
        db,
        sql!(
            "DELETE FROM idempotency_keys WHERE (user_id, key) IN
             (SELECT user_id, key FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT 1000)"
        ),
    )
    .bind(now)
    .execute()
    .await
}

/// Removes every key of a user, with its answers.
pub async fn erase(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM idempotency_keys WHERE user_id = $1")).bind(user).execute().await
}
