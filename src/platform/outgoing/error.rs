//! Why a call to a vendor brought no answer.

use std::time::Duration;

/// A call without an answer. Its text names the service, never an address: URLs may hold credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request cannot be built. Trying again does not help.
    #[error("{0}: the request cannot be made")]
    Invalid(&'static str),
    #[error("{0}: cannot be reached")]
    Unreachable(&'static str),
    #[error("{0}: no answer in time")]
    TimedOut(&'static str),
    #[error("{0}: the connection broke")]
    Broken(&'static str),
    /// The answer is larger than the caller reads.
    #[error("{0}: the answer is too large")]
    TooLarge(&'static str),
    /// The circuit breaker is open: the service was failing a moment ago.
    #[error("{service}: failing, not called again yet")]
    Open { service: &'static str, retry_after: Duration },
}

impl CallError {
    pub(super) fn of(service: &'static str, error: &reqwest::Error) -> Self {
        if error.is_builder() {
            Self::Invalid(service)
        } else if error.is_timeout() {
            Self::TimedOut(service)
        } else if error.is_connect() {
            Self::Unreachable(service)
        } else {
            Self::Broken(service)
        }
    }

    /// Whether the service did not do its part: no connection, no answer, or a broken one.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut(_) | Self::Broken(_))
    }

    /// Whether another call may succeed.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Invalid(_) | Self::TooLarge(_))
    }

    /// Minimum time until another call may succeed.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Open { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}
