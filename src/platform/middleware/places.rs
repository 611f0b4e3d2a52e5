//! Admission control: the bounded places that requests of a kind share. More requests than places are refused at once, so
//! that the ones inside stay fast; and because each kind has places of its own, slow uploads cannot keep out API calls.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::platform::http::policy::Pool;

/// Requests in flight at most.
const REQUESTS: usize = 1024;
/// Uploads and downloads at most.
const TRANSFERS: usize = 512;
/// Streams of events at most.
const STREAMS: usize = 2048;
/// Sockets at most.
const SOCKETS: usize = 4096;

/// The places of one server.
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
    /// Takes a place until the permit is dropped. `Ok(None)` for requests that are never refused.
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
