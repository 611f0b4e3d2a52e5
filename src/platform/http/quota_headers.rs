//! Headers with the state of a quota: `X-Quota-Limit`, `X-Quota-Remaining`, `X-Quota-Reset`.

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};

const LIMIT: HeaderName = HeaderName::from_static("x-quota-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-quota-remaining");
const RESET: HeaderName = HeaderName::from_static("x-quota-reset");

/// Sets the headers. A negative limit is none, and shown as -1. `X-Quota-Reset` is in Unix seconds, and missing for quotas that
/// do not reset.
pub fn set(headers: &mut HeaderMap, limit: i64, used: i64, resets_at: Option<DateTime<Utc>>) {
    let remaining = if limit < 0 { -1 } else { (limit - used).max(0) };
    headers.insert(LIMIT, HeaderValue::from(limit));
    headers.insert(REMAINING, HeaderValue::from(remaining));
    if let Some(at) = resets_at {
        headers.insert(RESET, HeaderValue::from(at.timestamp()));
    }
}
