//! Errors of outside services.

use std::time::Duration;

use crate::platform::outgoing::{Answer, CallError};

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
