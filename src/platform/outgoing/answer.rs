//! Vendor responses: a whole body within a limit, or a stream of pieces.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::CallError;
use crate::platform::clock::Clock;

/// Upper bound on a vendor's `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// A complete response, of any status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Empty if the body was incomplete or over the limit. This is no error, because the status shows that the vendor
    /// received the request.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether the status says that the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        is_transient(self.status)
    }

    /// The pause that `Retry-After` asks for, at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, Clock::System.now())
    }
}

/// A response whose body is read in pieces. Dropping it cancels the call.
pub struct Streaming {
    pub(super) service: &'static str,
    pub(super) response: reqwest::Response,
    pub(super) silence: Duration,
    pub(super) left: usize,
}

impl Streaming {
    /// The pause that `Retry-After` asks for, at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(self.headers(), Clock::System.now())
    }

    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Reads the rest of the body, which must end by this time and have at most this many bytes.
    pub async fn read_whole(&mut self, by: Instant, limit: usize) -> Result<Bytes, CallError> {
        self.left = self.left.min(limit);
        let mut body = BytesMut::new();
        while let Some(piece) = timeout_at(by, self.next()).await.map_err(|_| CallError::TimedOut(self.service))?? {
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// Returns the next piece; `None` at the end. Fails when the service is silent for too long or sends more than the limit.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let service = self.service;
        let piece = timeout(self.silence, self.response.chunk()).await.map_err(|_| CallError::TimedOut(service))?;
        let Some(piece) = piece.map_err(|error| CallError::of(service, &error))? else { return Ok(None) };
        self.left = self.left.checked_sub(piece.len()).ok_or(CallError::TooLarge(service))?;
        Ok(Some(piece))
    }
}

/// Whether the same call may succeed later.
pub(super) fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// `Retry-After` (RFC 9110, 10.2.3) in seconds or as a date, which is by the vendor's clock.
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
    fn retry_after_is_parsed_in_both_forms_and_bounded() {
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
