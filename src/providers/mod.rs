//! What stands between us and outside services: a trait for each kind, a file for each vendor.

pub mod email;
pub mod http;
pub mod storage;

use std::time::Duration;

/// Why an outside service did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Another try may help, where it says so not before that time is over.
    #[error("{message}")]
    Transient { message: String, retry_after: Option<Duration> },
    /// It will never be done.
    #[error("{0}")]
    Rejected(String),
    #[error("{0} is not configured")]
    NotConfigured(&'static str),
}
