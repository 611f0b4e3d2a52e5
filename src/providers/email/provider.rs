//! The mail vendor trait.

use std::time::Duration;

use async_trait::async_trait;

use super::message::{Email, Sent};
use crate::providers::ProviderError;

/// Time limit for sending one mail to the vendor.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A vendor that delivers mail.
#[async_trait]
pub trait EmailProvider: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Sends one mail in a single attempt; retries are up to the caller.
    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError>;
}
