//! JWKS cache (RFC 7517): the issuer's published keys, fetched on first use and again when they expire or a token names an
//! unknown `kid`. At most one fetch runs at a time; after a failure, fetches back off. That back-off takes the place of retries
//! and of a circuit breaker: with stale keys to go on with, it must last across requests (`docs/resilience.md`).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;
use url::Url;

use super::refusal::Refusal;
use crate::platform::outgoing::{Limits, Service};

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_DOCUMENT: usize = 1024 * 1024;
const MAX_KEYS: usize = 100;
/// Minimum interval between two fetches caused by an unknown `kid`.
const UNKNOWN_KID: TimeDelta = TimeDelta::seconds(30);
/// Expired keys are used for this much longer if the issuer cannot be reached.
const STALE: TimeDelta = TimeDelta::days(1);
/// The longest pause between two failing fetches.
const MAX_BACKOFF: TimeDelta = TimeDelta::seconds(30);

/// The keys of one issuer.
pub struct KeySet {
    url: Url,
    life: TimeDelta,
    http: Service,
    state: RwLock<State>,
    fetching: Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Option<(DateTime<Utc>, Arc<Keys>)>,
    unknown_kid_at: Option<DateTime<Utc>>,
    failures: u32,
    failed_at: Option<DateTime<Utc>>,
}

/// The published keys, and those among them that have a `kid`.
#[derive(Default)]
struct Keys {
    all: Vec<(Algorithm, DecodingKey)>,
    by_id: HashMap<String, usize>,
}

impl KeySet {
    pub fn new(url: Url, life: Duration, http: Service) -> Self {
        let life = TimeDelta::from_std(life).unwrap_or(TimeDelta::hours(1));
        Self { url, life, http, state: RwLock::default(), fetching: Mutex::new(()) }
    }

    /// Returns the key with this `kid` if its type fits the algorithm. Fetches the keys again if the `kid` is unknown.
    pub async fn find(&self, kid: Option<&str>, algorithm: Algorithm, now: DateTime<Utc>) -> Result<DecodingKey, Refusal> {
        let keys = self.current(now).await?;
        if let Some(key) = pick(&keys, kid, algorithm)? {
            return Ok(key);
        }
        let keys = self.after_unknown_kid(now).await.ok_or(Refusal::Invalid("unknown key id"))?;
        pick(&keys, kid, algorithm)?.ok_or(Refusal::Invalid("unknown key id"))
    }

    /// Returns cached keys if they are fresh, else fetched ones, else expired ones for up to [`STALE`].
    async fn current(&self, now: DateTime<Utc>) -> Result<Arc<Keys>, Refusal> {
        let known = self.read(|state| state.keys.clone());
        match known {
            Some((fetched, keys)) if now - fetched < self.life => Ok(keys),
            Some((fetched, keys)) if now - fetched < self.life + STALE => {
                // While another task fetches, the expired keys are used.
                let Ok(_turn) = self.fetching.try_lock() else { return Ok(keys) };
                Ok(self.fetch_unless_failing(now).await.unwrap_or(keys))
            }
            _ => {
                let _turn = self.fetching.lock().await;
                match self.read(|state| state.keys.clone()) {
                    Some((fetched, keys)) if now - fetched < self.life => Ok(keys),
                    _ => self.fetch_unless_failing(now).await.ok_or(Refusal::NoKeys),
                }
            }
        }
    }

    /// Fetches the keys because of an unknown `kid`, at most once per [`UNKNOWN_KID`]; returns the newest known keys.
    async fn after_unknown_kid(&self, now: DateTime<Utc>) -> Option<Arc<Keys>> {
        let seen = self.read(|state| state.keys.as_ref().map(|(fetched, _)| *fetched));
        let _turn = self.fetching.lock().await;
        let (latest, asked) = self.read(|state| (state.keys.clone(), state.unknown_kid_at));
        if let Some((fetched, keys)) = &latest
            && Some(*fetched) != seen
        {
            // Another task fetched the keys while this one waited.
            return Some(keys.clone());
        }
        if asked.is_some_and(|asked| now - asked < UNKNOWN_KID) {
            return latest.map(|(_, keys)| keys);
        }
        self.write(|state| state.unknown_kid_at = Some(now));
        self.fetch_unless_failing(now).await.or(latest.map(|(_, keys)| keys))
    }

    /// Fetches the keys; `None` on failure or during the back-off after one. The caller must hold `fetching`.
    async fn fetch_unless_failing(&self, now: DateTime<Utc>) -> Option<Arc<Keys>> {
        let wait = self.read(|state| state.failed_at.map(|at| at + MAX_BACKOFF.min(TimeDelta::seconds(1 << state.failures.min(6)) / 2)));
        if wait.is_some_and(|until| now < until) {
            return None;
        }
        let fetched = self.fetch().await;
        match fetched {
            Ok(keys) => {
                let keys = Arc::new(keys);
                self.write(|state| {
                    state.keys = Some((now, keys.clone()));
                    (state.failures, state.failed_at) = (0, None);
                });
                Some(keys)
            }
            Err(error) => {
                tracing::warn!(cause = %error.root_cause(), "the issuer's keys could not be fetched");
                self.write(|state| (state.failures, state.failed_at) = (state.failures + 1, Some(now)));
                None
            }
        }
    }

    async fn fetch(&self) -> anyhow::Result<Keys> {
        let limits = Limits { head: FETCH_TIMEOUT, silence: FETCH_TIMEOUT, total: FETCH_TIMEOUT, bytes: MAX_DOCUMENT };
        let answer = self.http.send("fetch", limits, self.http.client().get(self.url.clone())).await?;
        anyhow::ensure!(answer.status.is_success(), "the key document is answered with {}", answer.status.as_u16());
        let document: serde_json::Value = serde_json::from_slice(&answer.body).context("the key document is not JSON")?;
        let keys = document.get("keys").and_then(|keys| keys.as_array()).context("the key document has no keys")?;
        // An unsupported key must not make the other keys unusable.
        let usable = keys.iter().take(MAX_KEYS).filter_map(|key| usable(serde_json::from_value(key.clone()).ok()?));
        let mut keys = Keys::default();
        for (id, key) in usable {
            if let Some(id) = id {
                keys.by_id.insert(id, keys.all.len());
            }
            keys.all.push(key);
        }
        anyhow::ensure!(!keys.all.is_empty(), "the key document has no usable key");
        Ok(keys)
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut State) -> T) -> T {
        write(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A signing key of a type that we verify with: RSA for RS256, P-256 for ES256.
fn usable(jwk: Jwk) -> Option<(Option<String>, (Algorithm, DecodingKey))> {
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        _ => return None,
    };
    let fits = match jwk.common.key_algorithm {
        None => true,
        Some(KeyAlgorithm::RS256) => algorithm == Algorithm::RS256,
        Some(KeyAlgorithm::ES256) => algorithm == Algorithm::ES256,
        Some(_) => false,
    };
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| fits)?;
    Some((jwk.common.key_id, (algorithm, key)))
}

/// Returns the key with this `kid`; without a `kid`, the only key that fits the algorithm.
fn pick(keys: &Keys, kid: Option<&str>, algorithm: Algorithm) -> Result<Option<DecodingKey>, Refusal> {
    if let Some(kid) = kid {
        return match keys.by_id.get(kid).map(|index| &keys.all[*index]) {
            None => Ok(None),
            Some((of_key, key)) if *of_key == algorithm => Ok(Some(key.clone())),
            Some(_) => Err(Refusal::Invalid("key type does not fit the algorithm")),
        };
    }
    let mut fitting = keys.all.iter().filter(|(of_key, _)| *of_key == algorithm);
    match (fitting.next(), fitting.next()) {
        (Some((_, key)), None) => Ok(Some(key.clone())),
        _ => Err(Refusal::Invalid("names no key")),
    }
}
