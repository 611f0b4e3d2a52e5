//! Headers with the state of a quota: `X-Quota-Limit`, `X-Quota-Remaining`, `X-Quota-Reset`.

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

const LIMIT: HeaderName = HeaderName::from_static("x-quota-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-quota-remaining");
const RESET: HeaderName = HeaderName::from_static("x-quota-reset");

/// A quota of a user and how much of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaState {
    /// Negative if there is no limit.
    pub limit: i64,
    pub used: i64,
    /// `None` for quotas that do not reset.
    pub resets_at: Option<DateTime<Utc>>,
}

impl QuotaState {
    /// Sets the headers. No limit is shown as -1. `X-Quota-Reset` is in Unix seconds, and missing for quotas that do not reset.
    pub fn set_headers(&self, headers: &mut HeaderMap) {
        let remaining = if self.limit < 0 { -1 } else { (self.limit - self.used).max(0) };
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(remaining));
        if let Some(at) = self.resets_at {
            headers.insert(RESET, HeaderValue::from(at.timestamp()));
        }
    }
}
