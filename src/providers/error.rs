//! Why an outside service did not do what it was asked for.

use std::time::Duration;

use crate::platform::outgoing::{Answer, CallError};

/// A failure of an outside service. It decides whether a job tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Another try may succeed, not before `retry_after` where it is set.
    #[error("{message}")]
    Transient { message: String, retry_after: Option<Duration> },
    /// No try will ever succeed.
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
    /// The error that a vendor's answer is. `words` are logged and must name no person; `again` says that another try may
    /// succeed where the status does not say so.
    pub fn of_answer(vendor: &str, answer: &Answer, words: &str, again: bool) -> Self {
        let colon = if words.is_empty() { "" } else { ": " };
        let message = format!("{vendor}: {}{colon}{words}", answer.status.as_u16());
        if again || answer.is_transient() {
            return Self::Transient { message, retry_after: answer.retry_after() };
        }
        Self::Rejected(message)
    }
}
