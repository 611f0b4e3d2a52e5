//! A panic in a handler becomes a 500; the process and the other requests go on.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::platform::error::{Error, Result};

/// Runs `work`; a panic in it becomes an error.
pub async fn catch<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::Internal(anyhow::anyhow!("panic: {}", text.unwrap_or("no message"))))
    })
}
