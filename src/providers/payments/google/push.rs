//! Verification of the OIDC token of a Pub/Sub push
//! (<https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions>).

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, header};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::config::Config;
use crate::platform::auth::jws::Jws;
use crate::platform::auth::{KeySet, Refusal};
use crate::platform::outgoing::Outgoing;

/// Maximum length of a token in bytes.
const MAX_TOKEN: usize = 8 * 1024;
/// Allowed clock difference in seconds.
const LEEWAY: i64 = 10;
/// Google rotates its keys about once a week, and publishes a new one days before it signs.
const KEYS_LIFE: Duration = Duration::from_secs(3600);
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Verifies that a push comes from our Pub/Sub subscription.
pub struct PushVerifier {
    keys: Option<KeySet>,
    audience: Option<String>,
    email: Option<String>,
}

impl PushVerifier {
    pub fn new(config: &Config, outgoing: &Outgoing) -> Self {
        let keys = |url: &url::Url| KeySet::new(url.clone(), KEYS_LIFE, outgoing.service("google_certs"));
        Self { keys: config.certs_url.as_ref().map(keys), audience: config.audience.clone(), email: config.push_account.clone() }
    }

    /// Verifies the bearer token of a push. Everything is refused if audience or account are not configured.
    pub async fn verify(&self, headers: &HeaderMap, now: DateTime<Utc>) -> Result<(), Refusal> {
        let token = bearer(headers).ok_or(Refusal::Missing)?;
        let (Some(keys), Some(audience), Some(email)) = (&self.keys, &self.audience, &self.email) else {
            return Err(Refusal::Invalid("GOOGLE_PUBSUB_AUDIENCE or GOOGLE_PUBSUB_SERVICE_ACCOUNT is unset"));
        };
        if token.len() > MAX_TOKEN {
            return Err(Refusal::Invalid("longer than 8 KiB"));
        }
        let jws = Jws::parse(token)?;
        if jws.header.alg != "RS256" {
            return Err(Refusal::Invalid("algorithm is not RS256"));
        }
        let key = keys.find(jws.header.kid.as_deref(), Algorithm::RS256, now).await?;
        if !jws.is_signed_by(&[key], Algorithm::RS256) {
            return Err(Refusal::Invalid("signature does not fit"));
        }
        check(&jws.claims()?, audience, email, now.timestamp())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

fn check(claims: &Map<String, Value>, audience: &str, email: &str, now: i64) -> Result<(), Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if !text("iss").is_some_and(|issuer| ISSUERS.contains(&issuer)) {
        return Err(Refusal::Invalid("another issuer"));
    }
    if text("aud") != Some(audience) {
        return Err(Refusal::Invalid("another audience"));
    }
    if text("email") != Some(email) || claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(Refusal::Invalid("another account, or one whose address is not verified"));
    }
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64);
    if seconds("exp").ok_or(Refusal::Invalid("no expiry"))? <= now.saturating_sub(LEEWAY) {
        return Err(Refusal::Expired);
    }
    if ["iat", "nbf"].into_iter().filter_map(seconds).any(|time| time > now + LEEWAY) {
        return Err(Refusal::Invalid("not valid yet"));
    }
    Ok(())
}
