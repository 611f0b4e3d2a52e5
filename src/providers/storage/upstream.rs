//! Mapping of storage errors to API errors.

use crate::platform::error::Error;
use crate::providers::ProviderError;

/// Reports only that the store failed; the cause is logged.
pub fn upstream(error: ProviderError) -> Error {
    let (retry_after, cause) = match error {
        ProviderError::NotConfigured(_) => return Error::Unavailable { message: "The file storage is not configured", retry_after: None },
        ProviderError::Transient { retry_after, message } => (Some(retry_after.map_or(1, |after| after.as_secs().max(1))), message),
        ProviderError::Rejected(message) => (None, message),
    };
    Error::Upstream { message: "The file storage failed", service: "storage", reason: None, retry_after, cause }
}
