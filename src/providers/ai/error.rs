//! Why a vendor gave no answer. Nothing here holds the vendor's own text, which may repeat a prompt, a key or an address.

use std::time::Duration;

use crate::platform::error::Error;
use crate::platform::outgoing::{AccountProblem, CallError, Repeatable};

/// The kinds of failures that clients can tell apart (`details.reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The vendor refuses the request: sending it again does not help.
    InvalidRequest,
    ModelNotFound,
    /// The conversation is longer than the model takes.
    ContextTooLong,
    /// The service's own quota at the vendor is used up, or its rate is limited.
    Quota,
    Unavailable,
    Timeout,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::ModelNotFound => "model_not_found",
            Self::ContextTooLong => "context_too_long",
            Self::Quota => "quota",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The AI provider refused the request",
            Self::ModelNotFound => "The AI provider does not have this model",
            Self::ContextTooLong => "The conversation is too long for this model",
            Self::Quota => "The AI provider's rate limit or quota is used up",
            Self::Unavailable => "The AI provider failed",
            Self::Timeout => "The AI provider did not answer in time",
        }
    }
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{vendor}: {cause}")]
pub struct AiError {
    pub vendor: &'static str,
    pub reason: Reason,
    /// For the log: fixed words and numbers.
    pub cause: &'static str,
    pub status: Option<u16>,
    pub retry_after: Option<Duration>,
    /// The circuit breaker is open.
    pub open: bool,
    /// The same call may succeed shortly.
    pub transient: bool,
    /// The vendor is to blame: counts for its circuit breaker.
    pub blames_vendor: bool,
    pub account: Option<AccountProblem>,
}

impl AiError {
    /// A failure that a retry does not cure and that says nothing about the vendor's health.
    pub fn new(vendor: &'static str, reason: Reason, cause: &'static str) -> Self {
        Self { vendor, reason, cause, status: None, retry_after: None, open: false, transient: false, blames_vendor: false, account: None }
    }

    /// A connection that cannot be made or breaks off.
    pub fn broken(vendor: &'static str, cause: &'static str) -> Self {
        Self { transient: true, blames_vendor: true, ..Self::new(vendor, Reason::Unavailable, cause) }
    }

    /// `silent`: not one byte of an answer has arrived.
    pub fn timed_out(vendor: &'static str, cause: &'static str, silent: bool) -> Self {
        Self { blames_vendor: silent, ..Self::new(vendor, Reason::Timeout, cause) }
    }

    /// A body that is not what the vendor's documentation describes.
    pub fn malformed(vendor: &'static str) -> Self {
        Self::new(vendor, Reason::Unavailable, "the answer cannot be read")
    }

    /// `silent`: not one byte of an answer has arrived.
    pub fn of_call(vendor: &'static str, error: &CallError, silent: bool) -> Self {
        match error {
            CallError::Invalid(_) => Self::new(vendor, Reason::Unavailable, "the request cannot be made"),
            CallError::TooLarge(_) => Self::new(vendor, Reason::Unavailable, "the answer is too large"),
            CallError::TimedOut(_) => Self::timed_out(vendor, "no answer in time", silent),
            CallError::Unreachable(_) => Self::broken(vendor, "cannot be reached"),
            CallError::Broken(_) => Self::broken(vendor, "the connection broke"),
            CallError::Open { retry_after, .. } => Self {
                open: true,
                retry_after: Some(*retry_after),
                ..Self::new(vendor, Reason::Unavailable, "failing, not called again yet")
            },
        }
    }

    /// The model is cooling down after a 429.
    pub fn cooling(vendor: &'static str, left: Duration) -> Self {
        Self { retry_after: Some(left), ..Self::new(vendor, Reason::Quota, "cooling down after a 429") }
    }

    /// Whether another vendor may do better. Not if the request itself is at fault.
    pub fn is_vendors(&self) -> bool {
        matches!(self.reason, Reason::Quota | Reason::Unavailable | Reason::Timeout)
    }

    /// The error that clients get: 503 while the breaker is open, else 502.
    pub fn into_error(self) -> Error {
        let retry_after = self.retry_after.map(|pause| u64::max(1, pause.as_secs() + u64::from(pause.subsec_nanos() > 0)));
        if self.open {
            return Error::Unavailable { message: "The AI provider is failing and is not called for a while", retry_after };
        }
        let cause = match self.status {
            Some(status) => format!("{} ({status})", self.cause),
            None => self.cause.to_owned(),
        };
        Error::Upstream { message: self.reason.message(), service: self.vendor, reason: Some(self.reason.name()), retry_after, cause }
    }
}

impl Repeatable for AiError {
    fn may_be_repeated(&self) -> bool {
        self.transient
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}
