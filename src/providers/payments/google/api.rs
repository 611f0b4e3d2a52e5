//! The Play Developer API: reading and acknowledging subscriptions.

use std::time::Duration;

use http::StatusCode;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::access::Access;
use super::config::Config;
use super::purchase::Purchase;
use crate::platform::clock::Clock;
use crate::platform::outgoing::{Answer, Limits, Outgoing, Service};
use crate::providers::ProviderError;

/// Time limit of an operation, access token included: Pub/Sub waits 10 s for the answer to a push.
const TOTAL: Duration = Duration::from_secs(9);
const SERVICE: &str = "google_play";

/// What the API knows of a purchase token.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    Found(Box<Purchase>),
    /// Expired for so long that Google has dropped it (410).
    Gone,
    /// No purchase of this app, or one that is too new (404, 400).
    Unknown,
}

/// Client of the Play Developer API for one app.
pub struct Play {
    package_name: String,
    base: Url,
    access: Access,
    service: Service,
}

impl Play {
    /// `None` if Google Play is not configured.
    pub fn new(config: &Config, outgoing: &Outgoing, clock: Clock) -> Option<Self> {
        let service = outgoing.service_with_breaker(SERVICE);
        Some(Self {
            package_name: config.package_name.clone()?,
            base: config.base_url.clone()?,
            access: Access::new(config.account.clone()?, service.clone(), clock),
            service,
        })
    }

    pub fn package_name(&self) -> &str {
        &self.package_name
    }

    /// Reads a purchase (`purchases.subscriptionsv2.get`).
    pub async fn purchase(&self, purchase_token: &str) -> Result<Lookup, ProviderError> {
        let answer = self.get_purchase(purchase_token).await?;
        match answer.status {
            status if status.is_success() => {
                // A body that broke off is no state either.
                let purchase = Purchase::read(&answer.json());
                let unreadable = || ProviderError::of_answer(SERVICE, &answer, "not a purchase", true);
                purchase.map(Box::new).map(Lookup::Found).ok_or_else(unreadable)
            }
            StatusCode::GONE => Ok(Lookup::Gone),
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(Lookup::Unknown),
            _ => Err(self.failure(&answer).await),
        }
    }

    /// Acknowledges a purchase, which may be done again. `false` if there is nothing to acknowledge any more.
    pub async fn acknowledge(&self, product: &str, purchase_token: &str) -> Result<bool, ProviderError> {
        let by = Instant::now() + TOTAL;
        let token = self.access.token(by).await?;
        let url = self.url(&["subscriptions", product, "tokens", &format!("{purchase_token}:acknowledge")]);
        let request = authorized(self.service.client().post(url), &token).json(&json!({}));
        let answer = self.service.send("acknowledge", limits(by), request).await?;
        self.service.account_status(answer.status);
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::GONE | StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(false),
            _ => Err(self.failure(&answer).await),
        }
    }

    /// Checks that the account may read this app's purchases, with a token that no purchase has. The error is for operators.
    pub async fn check_access(&self) -> Result<(), ProviderError> {
        let answer = self.get_purchase("omnistack-doctor").await?;
        let reason = reason(&answer.json());
        match answer.status {
            StatusCode::NOT_FOUND if reason == "applicationNotFound" => {
                Err(ProviderError::Rejected(format!("{SERVICE}: there is no app {}", self.package_name)))
            }
            StatusCode::GONE | StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(self.failure(&answer).await),
        }
    }

    async fn get_purchase(&self, purchase_token: &str) -> Result<Answer, ProviderError> {
        let by = Instant::now() + TOTAL;
        let token = self.access.token(by).await?;
        let url = self.url(&["subscriptionsv2", "tokens", purchase_token]);
        let request = |client: &Client| authorized(client.get(url.clone()), &token);
        let answer = self.service.send_repeatable("get_subscription", limits(by), request).await?;
        self.service.account_status(answer.status);
        Ok(answer)
    }

    /// The error of an answer. A refused token is fetched anew by the next call.
    async fn failure(&self, answer: &Answer) -> ProviderError {
        if answer.status == StatusCode::UNAUTHORIZED {
            self.access.forget().await;
        }
        ProviderError::of_answer(SERVICE, answer, &reason(&answer.json()), false)
    }

    /// The URL below the app's purchases. Each segment is percent-encoded, because clients send the token.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["androidpublisher", "v3", "applications", &self.package_name, "purchases"]).extend(segments);
        }
        url
    }
}

fn limits(by: Instant) -> Limits {
    Limits { silence: Duration::from_secs(5), bytes: 256 * 1024, ..Limits::default() }.until(by)
}

fn authorized(request: RequestBuilder, token: &SecretString) -> RequestBuilder {
    request.bearer_auth(token.expose_secret())
}

/// The machine-readable reason of an error, which holds no personal data.
fn reason(body: &Value) -> String {
    let reason = body["error"]["errors"][0]["reason"].as_str().or_else(|| body["error"]["status"].as_str());
    reason
        .filter(|reason| reason.len() <= 64 && reason.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .unwrap_or_default()
        .to_owned()
}
