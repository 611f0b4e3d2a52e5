//! Verification of bearer tokens (JWS, RFC 7515 and 7519, following the advice of RFC 8725).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::ExposeSecret;

use super::claims::{self, Claims};
use super::config::{Config, KeySource, Provider};
use super::jws::Jws;
use super::refusal::Refusal;
use super::{jwks, own, token_type};
use crate::platform::clock::Clock;
use crate::platform::crypto::{self, Keys};
use crate::platform::outgoing::Outgoing;
use crate::platform::telemetry::metrics::Metrics;

/// Maximum length of a token in bytes; longer tokens are rejected before they are parsed.
const MAX_TOKEN: usize = 8 * 1024;
/// Allowed clock difference between issuer and service, in seconds.
const LEEWAY: i64 = 10;
/// TTL of a cached verified token, in seconds. A token is never cached past its `exp`.
const REMEMBER_SECONDS: i64 = 60;
/// Size of the cache of verified tokens, in bytes.
const REMEMBERED_BYTES: u64 = 2 << 20;

/// Verifies bearer tokens of the configured issuer.
pub struct Verifier {
    trust: Trust,
    provider: Provider,
    issuer: Option<String>,
    audience: Option<String>,
    clock: Clock,
    metrics: Metrics,
    remembered: quick_cache::sync::Cache<[u8; 32], (DateTime<Utc>, Arc<Claims>), ClaimsWeight>,
}

/// A token as a request presents it.
#[derive(Debug)]
pub enum Presented {
    /// Verified within the last minute, or refused at first sight.
    Known(Result<Arc<Claims>, Refusal>),
    Unverified(Unverified),
}

/// A token that is not verified yet.
pub struct Unverified {
    token: String,
    /// Its SHA-256, under which the verified token is remembered.
    key: [u8; 32],
}

impl std::fmt::Debug for Unverified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unverified(***)")
    }
}

/// Computes the size of a cached token in bytes.
#[derive(Clone)]
struct ClaimsWeight;

impl quick_cache::Weighter<[u8; 32], (DateTime<Utc>, Arc<Claims>)> for ClaimsWeight {
    fn weight(&self, _: &[u8; 32], (_, claims): &(DateTime<Utc>, Arc<Claims>)) -> u64 {
        let texts = [&claims.email, &claims.full_name, &claims.avatar_url].map(|text| text.as_ref().map_or(0, String::len));
        (96 + size_of::<Claims>() + claims.subject.as_str().len() + texts.iter().sum::<usize>()) as u64
    }
}

enum Trust {
    /// The service's own access tokens; the current key first.
    Own(Vec<DecodingKey>),
    Hs256(DecodingKey),
    Jwks(Box<jwks::KeySet>),
    Nobody,
}

impl Verifier {
    pub fn new(config: &Config, keys: &Keys, outgoing: &Outgoing, clock: Clock, metrics: Metrics) -> Self {
        let trust = match &config.keys {
            _ if config.provider == Provider::Local => Trust::Own(own::verification_keys(keys)),
            Some(KeySource::Hs256(secret)) => Trust::Hs256(DecodingKey::from_secret(secret.expose_secret().as_bytes())),
            Some(KeySource::Jwks(url)) => {
                Trust::Jwks(Box::new(jwks::KeySet::new(url.clone(), config.jwks_cache, outgoing.service("jwks"))))
            }
            None => Trust::Nobody,
        };
        let (issuer, audience) = match trust {
            Trust::Own(_) => (Some(own::ISSUER.to_owned()), Some(own::AUDIENCE.to_owned())),
            _ => (config.issuer.clone(), config.audience.clone()),
        };
        let remembered = quick_cache::sync::Cache::with_weighter(8192, REMEMBERED_BYTES, ClaimsWeight);
        Self { trust, provider: config.provider, issuer, audience, clock, metrics, remembered }
    }

    /// Reads the token after `Bearer` in the `Authorization` header.
    pub fn present_header(&self, header: Option<&http::HeaderValue>) -> Presented {
        let Some(header) = header else { return Presented::Known(Err(Refusal::Missing)) };
        let Ok(text) = header.to_str() else { return Presented::Known(Err(Refusal::Invalid("header is not ASCII"))) };
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
            return Presented::Known(Err(Refusal::Missing));
        }
        self.present(token.trim())
    }

    /// Returns what is known of a compact JWS without verifying it.
    pub fn present(&self, token: &str) -> Presented {
        if matches!(self.trust, Trust::Nobody) {
            return Presented::Known(Err(Refusal::NotConfigured));
        }
        if token.len() > MAX_TOKEN {
            return Presented::Known(Err(Refusal::Invalid("longer than 8 KiB")));
        }
        let key = crypto::sha256(token.as_bytes());
        match self.remembered.get(&key) {
            Some((until, claims)) if self.clock.now() < until => Presented::Known(Ok(claims)),
            _ => Presented::Unverified(Unverified { token: token.to_owned(), key }),
        }
    }

    /// Verifies a compact JWS.
    pub async fn verify(&self, token: &str) -> Result<Arc<Claims>, Refusal> {
        self.identify(self.present(token)).await
    }

    /// Verifies a presented token, unless it was verified before.
    pub async fn identify(&self, presented: Presented) -> Result<Arc<Claims>, Refusal> {
        match presented {
            Presented::Known(known) => known,
            // Boxed, because it is rare: otherwise the future of every request would include its size.
            Presented::Unverified(token) => Box::pin(self.verify_presented(token)).await,
        }
    }

    async fn verify_presented(&self, Unverified { token, key }: Unverified) -> Result<Arc<Claims>, Refusal> {
        let now = self.clock.now();
        let verified = self.verify_unknown(&token, now).await.inspect_err(|refusal| {
            if matches!(refusal, Refusal::Expired) {
                self.metrics.token_operations.with_label_values(&["expired"]).inc();
            }
        });
        let claims = Arc::new(verified?);
        self.metrics.token_operations.with_label_values(&["verified"]).inc();
        let expires = DateTime::from_timestamp(claims.expires_at, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.remembered.insert(key, (expires.min(now + chrono::TimeDelta::seconds(REMEMBER_SECONDS)), claims.clone()));
        Ok(claims)
    }

    async fn verify_unknown(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, Refusal> {
        let jws = Jws::parse(token)?;
        let typ = jws.header.typ.as_deref();
        let fits = if matches!(self.trust, Trust::Own(_)) { typ == Some(own::TYPE) } else { token_type::is_access(typ) };
        if !fits {
            return Err(Refusal::Invalid("typ is not that of an access token"));
        }
        self.check_signature(&jws, now).await?;
        let payload = jws.claims()?;
        if token_type::is_of_other_kind(&payload) {
            return Err(Refusal::Invalid("claims of another kind of token"));
        }
        self.check_claims(&payload, now)
    }

    async fn check_signature(&self, jws: &Jws<'_>, now: DateTime<Utc>) -> Result<(), Refusal> {
        let algorithm = match jws.header.alg.as_str() {
            "HS256" => Algorithm::HS256,
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            _ => return Err(Refusal::Invalid("algorithm is none of ours")),
        };
        let fetched;
        let keys = match &self.trust {
            Trust::Own(keys) if algorithm == Algorithm::HS256 => keys.as_slice(),
            Trust::Hs256(key) if algorithm == Algorithm::HS256 => std::slice::from_ref(key),
            Trust::Jwks(keys) if algorithm != Algorithm::HS256 => {
                // Boxed, because a fetch is rare and every request would carry its size.
                fetched = Box::pin(keys.find(jws.header.kid.as_deref(), algorithm, now)).await?;
                std::slice::from_ref(&fetched)
            }
            _ => return Err(Refusal::Invalid("algorithm is not the configured one")),
        };
        if jws.is_signed_by(keys, algorithm) { Ok(()) } else { Err(Refusal::Invalid("signature does not fit")) }
    }

    fn check_claims(&self, payload: &serde_json::Map<String, serde_json::Value>, now: DateTime<Utc>) -> Result<Claims, Refusal> {
        let now = now.timestamp();
        let claims = Claims::read(payload, self.provider)?;
        if claims.expires_at + LEEWAY <= now {
            return Err(Refusal::Expired);
        }
        let ahead = |time: Option<i64>| time.is_some_and(|time| time > now + LEEWAY);
        if ahead(claims::seconds(payload, "nbf")) || ahead(claims.issued_at) {
            return Err(Refusal::Invalid("not valid yet"));
        }
        if let Some(wanted) = &self.issuer {
            let issuer = payload.get("iss").and_then(|iss| iss.as_str());
            let trim = self.provider == Provider::Clerk;
            if issuer.map(|iss| if trim { iss.trim_end_matches('/') } else { iss }) != Some(wanted.as_str()) {
                return Err(Refusal::Invalid("another issuer"));
            }
        }
        if let Some(wanted) = &self.audience {
            let fits = match payload.get("aud") {
                Some(serde_json::Value::String(audience)) => audience == wanted,
                Some(serde_json::Value::Array(list)) => list.iter().any(|audience| audience.as_str() == Some(wanted)),
                _ => false,
            };
            if !fits {
                return Err(Refusal::Invalid("another audience"));
            }
        }
        Ok(claims)
    }
}
