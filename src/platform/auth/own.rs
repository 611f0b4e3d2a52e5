//! The service's own access tokens: HS256 with a key derived from `SECRET_KEY` for this purpose alone
//! (profile of RFC 9068). The role is not in them: it is read from the users row.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::config::{Config, KeySource};
use crate::platform::config::Choice;
use crate::platform::crypto::Keys;
use crate::platform::id::UserId;

pub const ISSUER: &str = "omnistack";
pub const AUDIENCE: &str = "omnistack";
/// Header `typ`. Prevents other tokens signed by the service from being accepted as access tokens.
pub const TYPE: &str = "at+jwt";

const PURPOSE: &str = "access-token";

/// The keys that verify the tokens: the current one, then those of earlier `SECRET_KEY`s.
pub(super) fn verification_keys(keys: &Keys) -> Vec<DecodingKey> {
    keys.ring(PURPOSE).keys().map(|key| DecodingKey::from_secret(key)).collect()
}

/// Signs an access token of the service's own accounts, for an existing user in one of their sessions.
pub fn mint(keys: &Keys, subject: &UserId, email: &str, session: &str, now: DateTime<Utc>, life: Duration) -> anyhow::Result<String> {
    let header = Header { typ: Some(TYPE.to_owned()), ..Header::new(Algorithm::HS256) };
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "email": email, "sid": session, "jti": uuid::Uuid::now_v7().to_string(),
        "iat": now.timestamp(), "exp": now.timestamp() + i64::try_from(life.as_secs())?,
    });
    Ok(encode(&header, &claims, &EncodingKey::from_secret(&keys.derive(PURPOSE)))?)
}

/// Returns whether the issuer's signing secret is configured (HS256).
pub fn can_mint_for_issuer(config: &Config) -> bool {
    matches!(config.keys, Some(KeySource::Hs256(_)))
}

/// Signs a token as the configured issuer would, for development. Fails unless the issuer's secret is configured.
pub fn mint_for_issuer(config: &Config, subject: &UserId, email: &str, now: DateTime<Utc>) -> anyhow::Result<String> {
    let Some(KeySource::Hs256(secret)) = &config.keys else {
        anyhow::bail!("tokens come from the issuer ({}); only it holds the signing key", config.provider.name());
    };
    let mut claims = json!({"sub": subject, "email": email, "iat": now.timestamp(), "exp": now.timestamp() + i64::try_from(config.access_ttl.as_secs())?});
    if let Some(issuer) = &config.issuer {
        claims["iss"] = Value::from(issuer.as_str());
    }
    if let Some(audience) = &config.audience {
        claims["aud"] = Value::from(audience.as_str());
    }
    Ok(encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.expose_secret().as_bytes()))?)
}
