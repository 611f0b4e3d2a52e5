//! Admission control: a bounded pool of places for each kind of request. Requests beyond the bound are refused at once, so
//! that admitted requests stay fast. Separate pools keep slow uploads from blocking API calls.
//!
//! A budget bounds the memory of responses that their clients do not read. A response that does not fit is replaced by a
//! 503 instead of waiting: while it waits, it would need the same memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::platform::http::policy::Pool;

/// Maximum number of concurrent requests.
const REQUESTS: usize = 1024;
/// Maximum number of concurrent uploads and downloads.
const TRANSFERS: usize = 512;
/// Maximum number of concurrent event streams.
const STREAMS: usize = 2048;
/// Maximum number of concurrent sockets.
const SOCKETS: usize = 12_288;

/// Memory for responses that are not written yet, in [`UNIT`]s: 256 MiB.
const MEMORY: u32 = 256 * 1024;
/// Bytes of a permit of the budget.
const UNIT: usize = 1024;
/// Size in bytes up to which a response is not counted: the number of places bounds them.
const UNCOUNTED: usize = 16 * 1024;

/// Marks a response whose body is shared with other responses, so that it costs no memory.
#[derive(Debug, Clone, Copy)]
pub struct SharedBody;

/// The admission-control pools of one server.
pub struct Places {
    memory: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
}

/// The pool has no free place.
pub struct Full;

impl Default for Places {
    fn default() -> Self {
        let pool = |places| Arc::new(Semaphore::new(places));
        let memory = pool(MEMORY as usize);
        Self { memory, requests: pool(REQUESTS), transfers: pool(TRANSFERS), streams: pool(STREAMS), sockets: pool(SOCKETS) }
    }
}

impl Places {
    /// Takes a place and holds it until the permit is dropped. `Ok(None)` for requests that are never refused.
    pub fn take(&self, pool: Pool) -> Result<Option<OwnedSemaphorePermit>, Full> {
        let pool = match pool {
            Pool::Requests => &self.requests,
            Pool::Transfers => &self.transfers,
            Pool::Streams => &self.streams,
            Pool::Sockets => &self.sockets,
            Pool::Unbounded => return Ok(None),
        };
        pool.clone().try_acquire_owned().map(Some).map_err(|_| Full)
    }

    /// Takes memory for a response of this many bytes, and holds it until the permit is dropped. `Ok(None)` if it is small.
    pub fn hold(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Full> {
        if bytes <= UNCOUNTED {
            return Ok(None);
        }
        // A response above the whole budget takes all of it, or it would never be sent.
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(MEMORY).min(MEMORY);
        self.memory.clone().try_acquire_many_owned(units).map(Some).map_err(|_| Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn memory_budget_counts_large_responses_only() {
        let places = Places::default();
        let large: Vec<_> = (0..8).map(|_| places.hold(32 * MIB)).collect();
        assert!(large.iter().all(|held| matches!(held, Ok(Some(_)))));
        assert!(places.hold(UNCOUNTED + 1).is_err());
        assert!(matches!(places.hold(UNCOUNTED), Ok(None)), "small ones are not counted");
        drop(large);
        assert!(matches!(places.hold(1000 * MIB), Ok(Some(_))), "one above the budget is sent if it is alone");
    }
}
