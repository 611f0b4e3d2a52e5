//! One request to a vendor's HTTP API, and what its answer means.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::ProviderError;
use crate::platform::clock::Clock;

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024;
/// The longest pause that a vendor can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What a vendor said.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null where it is no JSON, or broke off: a request that was taken stays taken.
    pub body: Value,
}

/// Sends the request once. It is an error only if there is no answer.
pub async fn send(vendor: &str, request: RequestBuilder) -> Result<Answer, ProviderError> {
    let response = request.send().await.map_err(|error| unreachable(vendor, &error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { status, headers, body: body(response).await.unwrap_or_default() })
}

impl Answer {
    /// The error that this answer is. `words` are told and must name nobody; `again` says that another try may help where the
    /// status does not.
    pub fn refused(&self, vendor: &str, words: &str, again: bool) -> ProviderError {
        let status = self.status;
        let colon = if words.is_empty() { "" } else { ": " };
        let message = format!("{vendor}: {}{colon}{words}", status.as_u16());
        if again || status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
            return ProviderError::Transient { message, retry_after: retry_after(&self.headers, Clock::System.now()) };
        }
        ProviderError::Rejected(message)
    }
}

/// Why there was no answer. Reqwest's own words hold the URL, which may have credentials in it.
pub fn unreachable(vendor: &str, error: &reqwest::Error) -> ProviderError {
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
}
