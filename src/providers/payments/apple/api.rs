//! The App Store Server API: reading the state of a subscription.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Client;
use serde_json::{Value, json};
use url::Url;

use super::config::{Config, Environment};
use crate::platform::outgoing::{Limits, Service};
use crate::providers::ProviderError;
use crate::providers::vendor::Outside;

const SERVICE: &str = "app_store";
const PRODUCTION: &str = "https://api.storekit.itunes.apple.com";
const SANDBOX: &str = "https://api.storekit-sandbox.itunes.apple.com";
/// Lifetime of a token; Apple accepts up to an hour.
const LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// Client of the API for one app.
pub struct AppStore {
    bundle_id: String,
    issuer_id: String,
    key_id: String,
    key: EncodingKey,
    bases: Vec<Url>,
    service: Service,
}

/// A subscription as Apple holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// 1 active, 2 expired, 3 billing retry, 4 grace period, 5 revoked.
    pub status: i64,
    /// The newest transaction, signed.
    pub transaction: Option<String>,
    /// What happens at its end, signed.
    pub renewal: Option<String>,
}

impl AppStore {
    /// `None` without bundle id and key.
    pub fn new(config: &Config, outside: &Outside) -> Option<Self> {
        let api = config.api.as_ref()?;
        let defaults: &[&str] = match config.environment {
            Some(Environment::Production) => &[PRODUCTION],
            Some(Environment::Sandbox) => &[SANDBOX],
            None => &[PRODUCTION, SANDBOX],
        };
        let bases = match &config.api_base {
            Some(base) => vec![base.clone()],
            None => defaults.iter().filter_map(|base| base.parse().ok()).collect(),
        };
        Some(Self {
            bundle_id: config.bundle_id.clone()?,
            issuer_id: api.issuer_id.clone(),
            key_id: api.key_id.clone(),
            key: api.signing_key()?,
            bases,
            service: outside.outgoing.service_with_breaker(SERVICE),
        })
    }

    /// Reads a subscription by the id of its first transaction; `None` if Apple knows none. Apple tells test purchases only in its
    /// sandbox, so that is asked second where both environments count.
    pub async fn subscription(&self, original_transaction_id: &str, now: DateTime<Utc>) -> Result<Option<Held>, ProviderError> {
        for base in &self.bases {
            if let Some(held) = self.subscription_at(base, original_transaction_id, now).await? {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    async fn subscription_at(&self, base: &Url, id: &str, now: DateTime<Utc>) -> Result<Option<Held>, ProviderError> {
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["inApps", "v1", "subscriptions", id]);
        }
        let token = self.token(now)?;
        let limits = Limits { total: Duration::from_secs(14), bytes: 1 << 20, ..Limits::default() };
        let request = |client: &Client| client.get(url.clone()).bearer_auth(&token);
        let answer = self.service.send_repeatable("subscription", limits, request).await?;
        self.service.account_status(answer.status);
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let body = answer.json();
                // A body that broke off is no state.
                let groups = body["data"].as_array().ok_or_else(|| ProviderError::of_answer(SERVICE, &answer, "no data", true))?;
                let all = groups.iter().filter_map(|group| group["lastTransactions"].as_array()).flatten();
                Ok(all.filter(|held| held["originalTransactionId"] == id).find_map(held))
            }
            _ => {
                let code = answer.json()["errorCode"].as_i64().unwrap_or_default();
                Err(ProviderError::of_answer(SERVICE, &answer, &code.to_string(), false))
            }
        }
    }

    fn token(&self, now: DateTime<Utc>) -> Result<String, ProviderError> {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        let claims = json!({
            "iss": self.issuer_id, "iat": now.timestamp(), "exp": (now + LIFETIME).timestamp(), "aud": "appstoreconnect-v1",
            "bid": self.bundle_id,
        });
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|_| ProviderError::Rejected("the App Store key cannot sign".to_owned()))
    }
}

fn held(object: &Value) -> Option<Held> {
    let text = |name: &str| object[name].as_str().map(str::to_owned);
    Some(Held { status: object["status"].as_i64()?, transaction: text("signedTransactionInfo"), renewal: text("signedRenewalInfo") })
}
