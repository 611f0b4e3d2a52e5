//! What a mail vendor can do.

use std::time::Duration;

use async_trait::async_trait;

use super::message::{Email, Sent};
use crate::providers::ProviderError;

/// The time for handing over one mail.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A vendor that delivers mail.
#[async_trait]
pub trait EmailProvider: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Hands one mail over, once: further attempts are the caller's.
    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError>;
}
