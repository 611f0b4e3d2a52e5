//! In-memory state: how many documents are in memory at once.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Documents that one process builds, encrypts or decrypts at once. Each may take a few times its size for that moment.
const AT_ONCE: usize = 2;

#[derive(Clone)]
pub struct State(Arc<Semaphore>);

impl State {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// Waits until a document may be held in memory.
    pub async fn memory(&self) -> anyhow::Result<SemaphorePermit<'_>> {
        Ok(self.0.acquire().await?)
    }
}
