//! Errors of outside services.

use std::time::Duration;

use crate::platform::outgoing::{Answer, CallError, Failure, Repeatable};

/// A failure of an outside service. It decides whether a job is retried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// A retry may succeed, not before `retry_after` if it is set.
    #[error("{message}")]
    Transient { message: String, retry_after: Option<Duration> },
    /// A retry cannot succeed.
    #[error("{0}")]
    Rejected(String),
    #[error("{0} is not configured")]
    NotConfigured(&'static str),
}

impl From<CallError> for ProviderError {
    fn from(error: CallError) -> Self {
        if error.is_transient() {
            Self::Transient { message: error.to_string(), retry_after: error.retry_after() }
        } else {
            Self::Rejected(error.to_string())
        }
    }
}

impl ProviderError {
    /// Converts a vendor's answer to an error. `words` are logged and must not contain personal data. `again` marks the
    /// error as transient even if the status does not.
    pub fn of_answer(vendor: &str, answer: &Answer, words: &str, again: bool) -> Self {
        let colon = if words.is_empty() { "" } else { ": " };
        let message = format!("{vendor}: {}{colon}{words}", answer.status.as_u16());
        if again || answer.is_transient() {
            return Self::Transient { message, retry_after: answer.retry_after() };
        }
        Self::Rejected(message)
    }
}

/// A failed call of a library, such as an SDK, for [`Service::run`](crate::platform::outgoing::Service::run).
#[derive(Debug)]
pub struct LibraryFailure {
    pub error: ProviderError,
    /// Whether the vendor has answered; `None` if the request was not made.
    pub vendor_works: Option<bool>,
}

impl From<CallError> for LibraryFailure {
    fn from(error: CallError) -> Self {
        Self { vendor_works: error.is_outage().then_some(false), error: error.into() }
    }
}

impl Repeatable for LibraryFailure {
    fn may_be_repeated(&self) -> bool {
        matches!(self.error, ProviderError::Transient { .. })
    }

    fn retry_after(&self) -> Option<Duration> {
        match self.error {
            ProviderError::Transient { retry_after, .. } => retry_after,
            _ => None,
        }
    }
}

impl Failure for LibraryFailure {
    fn vendor_works(&self) -> Option<bool> {
        self.vendor_works
    }
}
