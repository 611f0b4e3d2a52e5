//! Admission control: a bounded pool of places for each kind of request. Requests beyond the bound are refused at once, so
//! that admitted requests stay fast. Separate pools keep slow uploads from blocking API calls.

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
const SOCKETS: usize = 4096;

/// The admission-control pools of one server.
pub struct Places {
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
        Self { requests: pool(REQUESTS), transfers: pool(TRANSFERS), streams: pool(STREAMS), sockets: pool(SOCKETS) }
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
}
