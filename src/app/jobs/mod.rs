//! Work that is promised now and done later, exactly as often as it should: a queue in the database.
//!
//! [`Queue::enqueue`] writes a row, inside the caller's transaction where there is one: the table is the outbox, so a
//! job exists if and only if what it belongs to was committed. A [`worker::Worker`] runs the rows:
//!
//! - `dispatch` claims rows for free slots and hands apalis a ticket for each;
//! - `runner` is apalis: it bounds what runs at once, and opens the trace span;
//! - `owner` holds one claimed row until its end is stored, and runs the job in a task of its own;
//! - `finish` stores ends, many in one statement, again and again until it holds;
//! - `keep` renews the leases of the rows held here, and takes back those of workers that have gone.
//!
//! A job runs *at least* once: it may start again after a crash, so it looks whether its work is done, and passes
//! [`Run::key`] to vendors that take an idempotency key.

pub mod by_hand;
pub mod config;
pub mod cron;
mod dispatch;
mod finish;
mod keep;
pub mod model;
mod owner;
mod queue;
mod registry;
mod runner;
mod store;
pub mod worker;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::App;
use crate::platform::error::Error;
use crate::providers::ProviderError;

pub use config::Config;
pub use model::{JobId, Run};
pub use queue::{New, Queue};
pub use registry::Registry;

/// A kind of work. The value is its payload, kept as a JSON object in the row: ids rather than copies of data. A
/// member may be added with `#[serde(default)]` only, for rows of an older version may be waiting.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Stored in rows: never renamed.
    const NAME: &'static str;
    const MAX_ATTEMPTS: i32 = 3;
    /// The time for one attempt; over it, the attempt has failed.
    const LIMIT: Duration = Duration::from_secs(300);
    /// Members of the payload that are shown masked, wherever it is shown.
    const SECRETS: &'static [&'static str] = &[];

    /// One attempt. What it gives is kept as the job's result (JSON `null` where there is none).
    fn run(self, app: App, run: Run) -> impl Future<Output = Result<Value, Fail>> + Send;
}

/// Why an attempt did not succeed, and what that means for the job. The texts are kept with the row and shown to
/// administrators, so they hold no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fail {
    /// Another attempt may help: after a delay that grows.
    Retry(String),
    /// As `Retry`, but not before this time is over.
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

/// `base` × 2^(n−1), at most `cap`, and up to a fifth more, so that what failed together does not come back together.
fn backoff(base: Duration, n: u32, cap: Duration) -> Duration {
    let delay = base.saturating_mul(1 << n.clamp(1, 20).saturating_sub(1)).min(cap);
    let random = crate::platform::crypto::random::<1>().map_or(0, |[byte]| byte);
    delay + delay / 5 * u32::from(random) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_cap() {
        let second = Duration::from_secs(1);
        for (n, from, to) in
            [(0, 1000, 1200), (1, 1000, 1200), (2, 2000, 2400), (4, 8000, 9600), (7, 60_000, 72_000), (4000, 60_000, 72_000)]
        {
            let delay = backoff(second, n, Duration::from_secs(60)).as_millis();
            assert!((from..=to).contains(&delay), "{n}: {delay} ms");
        }
    }
}
