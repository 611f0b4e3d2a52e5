//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a repeated request gets the stored response and has no
//! second effect.
//!
//! Where the sole effect is on the database, key, response and change are one transaction, and a concurrent request with the same
//! key waits for it: handlers wrap their work in [`idempotent`]. Where a vendor is called, no transaction may be open meanwhile:
//! [`idempotent_call`] commits a claim first. Only successful responses are stored.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::platform::crypto::{self, KeyRing};
use crate::platform::db::{Db, Executor, Tx, query};
use crate::platform::error::{Error, Result};
use crate::platform::http::quota_headers::QuotaState;
use crate::platform::id::UserId;
use crate::sql;

/// TTL of a stored response.
const TTL: TimeDelta = TimeDelta::hours(24);
/// Time that a claim outlives the limit of its request.
const CLAIM_MARGIN: TimeDelta = TimeDelta::seconds(5);
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
    /// The quota that the record uses. A repeated request gets the headers of the first answer, too.
    pub quota: Option<QuotaState>,
}

/// Runs `work` in a transaction, once per user and key, and returns 201; a repeated request gets the stored response. Key and
/// response are stored by the same transaction. Fails if the key was used for another request.
pub async fn idempotent<T: Serialize>(
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

/// Like [`idempotent`], for work that calls a vendor; returns 200. `limit` is that of the request: the claim of a process that died
/// ends 5 s after it. A concurrent request with the same key gets 409.
pub async fn idempotent_call<T: Serialize>(
    store: Store<'_>,
    user: &UserId,
    key: Option<Key>,
    limit: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<Response> {
    let Some(key) = key else { return Answer::new(StatusCode::OK, &work.await?)?.into_response() };
    let until = store.now + TimeDelta::from_std(limit).map_err(anyhow::Error::from)? + CLAIM_MARGIN;
    if !claimed(store.db, store.now, user, &key, until).await? {
        return first_answer(store, store.db, user, &key).await?.ok_or(Error::InProgress)?.into_replay();
    }
    let answer = match work.await.and_then(|body| Answer::new(StatusCode::OK, &body)) {
        Ok(answer) => answer,
        Err(error) => {
            // The request did nothing, so its key may be used again.
            release(store, user, &key).await?;
            return Err(error);
        }
    };
    keep(store, store.db, user, &key, &answer).await?;
    answer.into_response()
}

/// Stores the response with its key and commits.
async fn finish<T: Serialize>(store: Store<'_>, user: &UserId, key: &Key, mut tx: Tx, created: &Created<T>) -> Result<Response> {
    let answer = Answer::of(created)?;
    keep(store, &mut tx, user, key, &answer).await?;
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
    if claimed(&mut tx, store.now, user, key, store.now + TTL).await? {
        return Ok(Claim::Free(tx));
    }
    // Without an answer the key expired or was released between the two statements; a retry finds it free.
    first_answer(store, &mut tx, user, key).await?.map(Claim::Answered).ok_or(Error::Contended)
}

/// Inserts the key without an answer; `false` if it is there and has not expired.
async fn claimed(on: impl Into<Executor<'_>>, now: DateTime<Utc>, user: &UserId, key: &Key, until: DateTime<Utc>) -> Result<bool> {
    let claim = query(
        on,
        sql!(
            "INSERT INTO idempotency_keys (user_id, key, fingerprint, answer, created_at, expires_at) VALUES ($1, $2, $3, NULL, $4, $5)
             ON CONFLICT (user_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, answer = NULL, created_at = excluded.created_at, expires_at = excluded.expires_at
             WHERE idempotency_keys.expires_at <= excluded.created_at"
        ),
    );
    Ok(claim.bind(user).bind(&key.key).bind(&key.fingerprint).bind(now).bind(until).execute().await? == 1)
}

/// The stored answer of the first request with this key; `None` if it has none yet. Fails if that was another request.
async fn first_answer(store: Store<'_>, on: impl Into<Executor<'_>>, user: &UserId, key: &Key) -> Result<Option<Answer>> {
    let row = query(on, sql!("SELECT fingerprint, answer FROM idempotency_keys WHERE user_id = $1 AND key = $2"));
    let kept: Option<(String, Option<Vec<u8>>)> = row.bind(user).bind(&key.key).fetch_optional().await?;
    match kept {
        Some((fingerprint, _)) if fingerprint != key.fingerprint => {
            Err(Error::invalid("Idempotency-Key", "reused", "This key was used for another request"))
        }
        Some((_, Some(sealed))) => {
            let Some(plain) = store.keys.open(context(user, key).as_bytes(), &sealed) else {
                tracing::warn!("a stored response cannot be decrypted: SECRET_KEY was changed, or the row was altered");
                return Err(UNREADABLE);
            };
            Ok(Some(serde_json::from_slice(&plain).map_err(anyhow::Error::from)?))
        }
        _ => Ok(None),
    }
}

/// Stores the response with its key, for as long as it may be repeated.
async fn keep(store: Store<'_>, on: impl Into<Executor<'_>>, user: &UserId, key: &Key, answer: &Answer) -> Result<()> {
    let plain = serde_json::to_vec(answer).map_err(anyhow::Error::from)?;
    let sealed = store.keys.seal(context(user, key).as_bytes(), &plain)?;
    let keep =
        query(on, sql!("UPDATE idempotency_keys SET answer = $1, expires_at = $4 WHERE user_id = $2 AND key = $3 AND created_at = $5"));
    keep.bind(sealed).bind(user).bind(&key.key).bind(store.now + TTL).bind(store.now).execute().await?;
    Ok(())
}

/// Gives a claim back.
async fn release(store: Store<'_>, user: &UserId, key: &Key) -> Result<()> {
    let release =
        query(store.db, sql!("DELETE FROM idempotency_keys WHERE user_id = $1 AND key = $2 AND answer IS NULL AND created_at = $3"));
    release.bind(user).bind(&key.key).bind(store.now).execute().await?;
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    location: Option<String>,
    /// Absent in answers that an earlier version stored.
    #[serde(default)]
    quota: Option<QuotaState>,
    body: String,
}

impl Answer {
    fn new(status: StatusCode, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_string(body).map_err(anyhow::Error::from)?;
        Ok(Self { status: status.as_u16(), location: None, quota: None, body })
    }

    fn of<T: Serialize>(created: &Created<T>) -> Result<Self> {
        Ok(Self { location: created.location.clone(), quota: created.quota, ..Self::new(StatusCode::CREATED, &created.body)? })
    }

    fn into_response(self) -> Result<Response> {
        let status = StatusCode::from_u16(self.status).map_err(anyhow::Error::from)?;
        let mut response = (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], self.body).into_response();
        if let Some(location) = self.location {
            response.headers_mut().insert(header::LOCATION, HeaderValue::try_from(location).map_err(anyhow::Error::from)?);
        }
        if let Some(quota) = self.quota {
            quota.set_headers(response.headers_mut());
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
