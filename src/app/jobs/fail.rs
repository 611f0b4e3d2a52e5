//! Failure of a job attempt: the reason, and whether to retry.

use std::time::Duration;

use crate::platform::error::Error;
use crate::providers::ProviderError;

/// Why an attempt failed. The texts are stored with the row and shown to administrators, so they must not hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fail {
    /// Another attempt may succeed; it follows after an exponential backoff.
    Retry(String),
    /// Like `Retry`, but not before this delay has passed.
    RetryAfter(String, Duration),
    /// No attempt will ever succeed.
    Dead(String),
}

impl Fail {
    pub fn reason(&self) -> &str {
        match self {
            Self::Retry(reason) | Self::RetryAfter(reason, _) | Self::Dead(reason) => reason,
        }
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        match error {
            Error::Internal(cause) => Self::Retry(format!("{cause:#}")),
            other => Self::Retry(other.to_string()),
        }
    }
}

impl From<sqlx::Error> for Fail {
    fn from(error: sqlx::Error) -> Self {
        Self::Retry(format!("database: {error}"))
    }
}

impl From<anyhow::Error> for Fail {
    fn from(error: anyhow::Error) -> Self {
        Self::Retry(format!("{error:#}"))
    }
}

impl From<ProviderError> for Fail {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Transient { retry_after: Some(after), ref message } => Self::RetryAfter(message.clone(), after),
            ProviderError::Transient { .. } => Self::Retry(error.to_string()),
            ProviderError::Rejected(_) | ProviderError::NotConfigured(_) => Self::Dead(error.to_string()),
        }
    }
}
