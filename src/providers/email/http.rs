//! What vendors with an HTTP API have in common: a key and a place, one request, and what its answer means.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::TIMEOUT;
use super::config::{Vendor, required};
use crate::platform::clock::Clock;
use crate::platform::config::Env;
use crate::providers::ProviderError;

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024;
/// The longest pause that a vendor can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// A vendor's API, and the variables that say how to reach it, each with its help.
#[derive(Debug)]
pub struct Api {
    pub name: &'static str,
    pub key: (&'static str, &'static str),
    pub base_url: (&'static str, &'static str),
    /// Where it is unless the variable says otherwise.
    pub home: &'static str,
}

/// How to reach an API.
#[derive(Debug, Clone)]
pub struct Settings {
    api: &'static Api,
    key: Option<SecretString>,
    base_url: Option<Url>,
}

impl Settings {
    pub fn read(env: &mut Env, api: &'static Api) -> Self {
        Self {
            api,
            key: env.var(api.key.0, api.key.1).secret(1),
            base_url: env.var(api.base_url.0, api.base_url.1).shown_default(api.home).optional(),
        }
    }

    pub(super) fn check(&self, env: &mut Env, vendor: Vendor) {
        if self.key.is_none() {
            required(env, self.api.key.0, vendor);
        }
    }

    pub(super) fn endpoint(&self, path: &str, client: reqwest::Client) -> Result<Endpoint, ProviderError> {
        let key = self.key.clone().ok_or(ProviderError::NotConfigured(self.api.name))?;
        let base = self.base_url.as_ref().map_or(self.api.home, Url::as_str);
        Ok(Endpoint { name: self.api.name, url: format!("{}{path}", base.trim_end_matches('/')), key, client })
    }
}

/// The one address of a vendor that mails are posted to.
pub struct Endpoint {
    pub name: &'static str,
    url: String,
    key: SecretString,
    client: reqwest::Client,
}

impl Endpoint {
    pub fn post(&self, body: &Value) -> RequestBuilder {
        self.client.post(&self.url).bearer_auth(self.key.expose_secret()).json(body)
    }
}

/// A successful answer.
pub struct Answer {
    pub headers: HeaderMap,
    /// Null where it is no JSON.
    pub body: Value,
}

/// Sends the request once; anything but 2xx is an error. `busy` tells of the vendor's own errors after which another try
/// may help.
pub async fn send(vendor: &str, request: RequestBuilder, busy: fn(StatusCode, &Value) -> bool) -> Result<Answer, ProviderError> {
    let response = request.timeout(TIMEOUT).send().await.map_err(|error| unreachable(vendor, &error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = body(response).await;
    if status.is_success() {
        // It was taken: an answer that breaks off in the middle does not change that.
        return Ok(Answer { headers, body: body.unwrap_or_default() });
    }
    let body = body.unwrap_or_default();
    let message = words(&body);
    let message =
        if message.is_empty() { format!("{vendor}: {}", status.as_u16()) } else { format!("{vendor}: {}: {message}", status.as_u16()) };
    let again =
        status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) || busy(status, &body);
    if again {
        return Err(ProviderError::Transient { message, retry_after: retry_after(&headers, Clock::System.now()) });
    }
    Err(ProviderError::Rejected(message))
}

fn unreachable(vendor: &str, error: &reqwest::Error) -> ProviderError {
    // Reqwest's own words hold the URL, which may have credentials in it.
    if error.is_builder() {
        return ProviderError::Rejected(format!("{vendor}: the request cannot be made"));
    }
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot be reached"
    } else {
        "the connection broke"
    };
    ProviderError::Transient { message: format!("{vendor}: {what}"), retry_after: None }
}

async fn body(mut response: Response) -> Option<Value> {
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if text.len() + chunk.len() > MAX_ANSWER {
            return None;
        }
        text.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&text).ok()
}

/// The vendor's own words, where it has some.
fn words(body: &Value) -> String {
    let message = body["message"].as_str().or_else(|| body["errors"][0]["message"].as_str()).unwrap_or_default();
    super::address::told(message)
}

/// `Retry-After` (RFC 9110, 10.2.3) in seconds or as a date, which is one by the vendor's clock.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).map(str::trim);
    let date = |text| DateTime::parse_from_rfc2822(text).ok();
    let wanted = text(header::RETRY_AFTER)?;
    let pause = if !wanted.is_empty() && wanted.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(wanted.parse().unwrap_or(u64::MAX))
    } else {
        let there = text(header::DATE).and_then(date).map_or(now, |date| date.to_utc());
        (date(wanted)?.to_utc() - there).to_std().unwrap_or_default()
    };
    Some(pause.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read_in_both_forms_and_bounded() {
        let now = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
        let pause = |value: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, now).map(|pause| pause.as_secs())
        };
        assert_eq!(pause("7"), Some(7));
        assert_eq!(pause("Thu, 01 Jan 2026 00:01:30 GMT"), Some(90));
        assert_eq!(pause("Wed, 31 Dec 2025 00:00:00 GMT"), Some(0));
        assert_eq!(pause("86400"), Some(3600));
        assert_eq!(pause("99999999999999999999999"), Some(3600));
        for junk in ["", "soon", "-5", "1.5"] {
            assert_eq!(pause(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn the_words_of_a_vendor_are_found() {
        assert_eq!(words(&serde_json::json!({"message": "no"})), "no");
        assert_eq!(words(&serde_json::json!({"errors": [{"message": "bad"}]})), "bad");
        assert_eq!(words(&serde_json::json!(["x"])), "");
        assert_eq!(words(&Value::Null), "");
    }
}
