//! Receives an upload into the local folder: one at a time for each object, and not slower than a minimum rate.
//!
//! A file is written under a temporary name, synced and then renamed, so that no partial file ever has a final name, even
//! after a crash.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::fs;
use tokio::time::{Instant, timeout};

use crate::platform::private_files;
use crate::providers::ProviderError;

/// Write buffer in bytes. A larger one would delay other requests for longer.
const BUFFER: usize = 64 * 1024;

/// Why an upload was refused.
#[derive(Debug)]
pub enum Refused {
    /// Another upload of this object is running.
    Busy,
    /// More bytes than declared.
    TooLarge,
    /// No bytes.
    Empty,
    /// Fewer bytes than the minimum rate.
    TooSlow,
    /// The client disconnected.
    BrokenOff,
    Store(ProviderError),
}

/// Number of bytes that an upload must bring within each window.
#[derive(Debug, Clone, Copy)]
pub struct MinimumRate {
    pub bytes: u64,
    pub window: Duration,
}

impl Default for MinimumRate {
    /// 1 KiB/s over 30 s.
    fn default() -> Self {
        Self { bytes: 30 * 1024, window: Duration::from_secs(30) }
    }
}

/// The folder of temporary files, and the objects that are being received.
pub(super) struct Drafts {
    folder: PathBuf,
    /// In memory only, so that a crash leaves no lock behind.
    running: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Drafts {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, running: Arc::default() }
    }

    /// Writes and syncs the bytes for `target` under a temporary name.
    pub async fn receive<E>(
        &self,
        target: PathBuf,
        most: u64,
        rate: MinimumRate,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Received, Refused> {
        let turn = Turn::take(&self.running, &target).ok_or(Refused::Busy)?;
        let broken = |error: std::io::Error| Refused::Store(failed("write", &error));
        let draft = Draft::create(self.folder.clone()).await.map_err(broken)?;
        let (mut total, mut buffer, mut body) = (0_u64, BytesMut::new(), PacedBody::new(body, rate));
        while let Some(chunk) = body.next().await? {
            total += chunk.len() as u64;
            if total > most {
                return Err(Refused::TooLarge);
            }
            if !buffer.is_empty() && buffer.len() + chunk.len() > BUFFER {
                draft.write(buffer.split().freeze()).await.map_err(broken)?;
            }
            if chunk.len() < BUFFER {
                buffer.extend_from_slice(&chunk);
            } else {
                draft.write(chunk).await.map_err(broken)?;
            }
        }
        if total == 0 {
            return Err(Refused::Empty);
        }
        draft.write(buffer.freeze()).await.map_err(broken)?;
        draft.sync().await.map_err(broken)?;
        Ok(Received { draft, target, _turn: turn })
    }
}

/// The right to receive an object. Ends on drop, also when the client disconnects.
struct Turn {
    running: Arc<Mutex<HashSet<PathBuf>>>,
    target: PathBuf,
}

impl Turn {
    /// `None` while another upload has it.
    fn take(running: &Arc<Mutex<HashSet<PathBuf>>>, target: &Path) -> Option<Self> {
        let is_free = running.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_owned());
        is_free.then(|| Self { running: running.clone(), target: target.to_owned() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.target);
    }
}

/// A client's body that fails once it brings too little within a window.
///
/// Only the time spent waiting for the client counts, because a slow disk is not the client's fault.
struct PacedBody<S> {
    body: S,
    rate: MinimumRate,
    /// Time waited in this window.
    waited: Duration,
    /// Bytes received in this window.
    received: u64,
}

impl<S, E> PacedBody<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    fn new(body: S, rate: MinimumRate) -> Self {
        Self { body, rate, waited: Duration::ZERO, received: 0 }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            let began = Instant::now();
            let next = timeout(self.rate.window.saturating_sub(self.waited), self.body.next()).await;
            self.waited += began.elapsed();
            let chunk = match next {
                Ok(Some(Ok(chunk))) => Some(chunk),
                Ok(Some(Err(_))) => return Err(Refused::BrokenOff),
                Ok(None) => return Ok(None),
                Err(_) => None,
            };
            self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            if self.waited >= self.rate.window {
                if self.received < self.rate.bytes {
                    return Err(Refused::TooSlow);
                }
                (self.waited, self.received) = (Duration::ZERO, 0);
            }
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
    }
}

/// A file under a temporary name; removed on drop unless it was renamed.
struct Draft {
    path: PathBuf,
    file: Arc<std::fs::File>,
}

impl Draft {
    async fn create(folder: PathBuf) -> std::io::Result<Self> {
        let create = move || {
            private_files::create_folder(&folder)?;
            let path = folder.join(uuid::Uuid::now_v7().to_string());
            let file = private_files::create_file(&path)?;
            Ok(Self { path, file: Arc::new(file) })
        };
        tokio::task::spawn_blocking(create).await?
    }

    /// Does not use `tokio::fs::File`, which copies the bytes and holds a buffer while it is open.
    async fn write(&self, bytes: Bytes) -> std::io::Result<()> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || file.as_ref().write_all(&bytes)).await?
    }

    async fn sync(&self) -> std::io::Result<()> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || file.sync_all()).await?
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Fails if the file was renamed. Blocks only for a short time: it unlinks one name.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A complete upload, still under a temporary name.
pub struct Received {
    draft: Draft,
    target: PathBuf,
    _turn: Turn,
}

impl Received {
    /// Renames the file, replacing an earlier one. A crash may lose the new name until [`Named::settle`] has run.
    pub async fn keep(self) -> Result<Named, ProviderError> {
        let rename = move || {
            let Self { draft, target, _turn } = self;
            let folder = target.parent().unwrap_or(Path::new(".")).to_owned();
            private_files::create_folder(&folder)?;
            std::fs::rename(&draft.path, &target)?;
            Ok(Named { folder })
        };
        let renamed = tokio::task::spawn_blocking(rename).await.map_err(std::io::Error::from).flatten();
        renamed.map_err(|error: std::io::Error| failed("write", &error))
    }
}

/// A file under its final name.
#[must_use]
pub struct Named {
    folder: PathBuf,
}

impl Named {
    /// Syncs the folder, which makes the new name durable.
    pub async fn settle(self) -> Result<(), ProviderError> {
        let failed = |error: std::io::Error| failed("write", &error);
        let folder = fs::File::open(&self.folder).await.map_err(failed)?;
        folder.sync_all().await.map_err(failed)
    }
}

/// Reports only the error kind: paths must not reach clients.
pub fn failed(doing: &str, error: &std::io::Error) -> ProviderError {
    ProviderError::Transient { message: format!("local: cannot {doing}: {}", error.kind()), retry_after: None }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    const RATE: MinimumRate = MinimumRate { bytes: 30 * 1024, window: Duration::from_secs(30) };

    /// Reads a body that brings these many bytes, each after these many seconds; returns the number of bytes.
    async fn read(pieces: Vec<(u64, usize)>) -> Result<usize, Refused> {
        let pieces = stream::iter(pieces).then(|(seconds, bytes)| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok::<_, Infallible>(Bytes::from(vec![0; bytes]))
        });
        let (mut body, mut total) = (PacedBody::new(Box::pin(pieces), RATE), 0);
        while let Some(chunk) = body.next().await? {
            total += chunk.len();
        }
        Ok(total)
    }

    #[tokio::test(start_paused = true)]
    async fn paced_body_below_minimum_rate_fails() {
        let started = Instant::now();
        assert!(matches!(read(vec![(1, 1000); 200]).await, Err(Refused::TooSlow)), "1,000 bytes a second");
        assert!(matches!(read(vec![(0, 20_000), (3600, 1_000_000)]).await, Err(Refused::TooSlow)), "silence");
        assert_eq!(started.elapsed().as_secs(), 60, "each is ended after one window");
        // A first window of many bytes does not pay for the second one.
        assert!(matches!(read(vec![(1, 10_000_000), (100, 1)]).await, Err(Refused::TooSlow)));
        assert_eq!(started.elapsed().as_secs(), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn paced_body_at_minimum_rate_is_read_to_its_end() {
        assert_eq!(read(vec![(1, 1024); 200]).await.unwrap(), 200 * 1024);
        assert_eq!(read(vec![(29, 1)]).await.unwrap(), 1, "less than a window is never too slow");
        assert_eq!(read(vec![(25, 40_000); 10]).await.unwrap(), 400_000, "pauses within a window do not matter");
        assert_eq!(read(vec![]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn paced_body_counts_only_the_wait_for_the_client() {
        let pieces = stream::iter(vec![Ok::<_, Infallible>(Bytes::from_static(b"abc")); 10]);
        let mut body = PacedBody::new(pieces, RATE);
        while let Some(chunk) = body.next().await.unwrap() {
            // The disk is slow.
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(chunk);
        }
    }

    #[test]
    fn object_is_received_by_one_upload_at_a_time() {
        let running = Arc::default();
        let (one, other) = (Path::new("a"), Path::new("b"));
        let turn = Turn::take(&running, one);
        assert!(turn.is_some() && Turn::take(&running, other).is_some() && Turn::take(&running, one).is_none());
        drop(turn);
        assert!(Turn::take(&running, one).is_some());
        assert!(running.lock().unwrap().is_empty());
    }
}
