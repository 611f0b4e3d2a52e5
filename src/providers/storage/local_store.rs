//! The local folder itself: files, and the signed tokens that permit to write or read them.
//!
//! A file is written under a temporary name, made durable and then renamed, so that no partial file ever has the name of a
//! complete one, whatever happens to the process.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::fs;

use crate::platform::crypto::{self, Key, Keys};
use crate::providers::ProviderError;

/// Files being received, below the folder.
const TEMPORARY: &str = ".uploads";
/// Bytes gathered before they are written. More at once would hold up other requests for longer.
const BUFFER: usize = 64 * 1024;
/// A client that sends nothing for this long has gone.
const SILENCE: Duration = Duration::from_secs(60);

/// What a signed token permits to its bearer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    #[serde(rename = "m")]
    pub method: Use,
    #[serde(rename = "k")]
    pub key: String,
    #[serde(rename = "t")]
    pub content_type: String,
    /// Bytes at most, of an upload.
    #[serde(rename = "s", default)]
    pub size: u64,
    /// The name that a download has.
    #[serde(rename = "n", default)]
    pub filename: String,
    /// Unix seconds.
    #[serde(rename = "e")]
    pub expires: i64,
}

/// What a permission is for; one for the other use opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Use {
    #[serde(rename = "PUT")]
    Upload,
    #[serde(rename = "GET")]
    Download,
}

/// Why bytes were not taken.
#[derive(Debug)]
pub enum Refused {
    /// More than was declared.
    TooLarge,
    /// None at all.
    Empty,
    /// The client broke off, or fell silent.
    BrokenOff,
    Store(ProviderError),
}

/// The folder.
pub struct Local {
    folder: PathBuf,
    key: Key,
}

impl Local {
    pub fn new(folder: PathBuf, keys: &Keys) -> Self {
        Self { folder, key: keys.derive("local-storage") }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn sign(&self, permission: &Permission) -> Result<String, ProviderError> {
        let payload =
            serde_json::to_vec(permission).map_err(|_| ProviderError::Rejected("local: a permission cannot be written".to_owned()))?;
        let mac = crypto::mac(&self.key, &[&payload]);
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(mac)))
    }

    /// What the token permits, if we signed it for this use and its time is not up.
    pub fn read_token(&self, token: &str, wanted: Use, now: DateTime<Utc>) -> Option<Permission> {
        let (payload, mac) = token.split_once('.')?;
        let (payload, mac) = (URL_SAFE_NO_PAD.decode(payload).ok()?, URL_SAFE_NO_PAD.decode(mac).ok()?);
        if !crypto::same(&crypto::mac(&self.key, &[&payload]), &mac) {
            return None;
        }
        let permission: Permission = serde_json::from_slice(&payload).ok()?;
        (permission.method == wanted && permission.expires > now.timestamp()).then_some(permission)
    }

    /// Where an object lies. Keys are of our own making; one that leaves the folder is refused all the same.
    pub fn path(&self, key: &str) -> Result<PathBuf, ProviderError> {
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
        if !key.split('/').all(plain) {
            return Err(ProviderError::Rejected("local: the key is none of ours".to_owned()));
        }
        Ok(self.folder.join(key))
    }

    /// Takes the bytes of an upload, durably, but not yet under their name: see [`Received::keep`].
    pub async fn receive<E>(
        &self,
        permission: &Permission,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Received, Refused> {
        let target = self.path(&permission.key).map_err(Refused::Store)?;
        let draft = Draft::create(&self.folder.join(TEMPORARY)).await.map_err(|error| Refused::Store(failed("write", &error)))?;
        let broken = |error: std::io::Error| Refused::Store(failed("write", &error));
        let (mut total, mut buffer) = (0_u64, BytesMut::new());
        loop {
            let chunk = match tokio::time::timeout(SILENCE, body.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => return Err(Refused::BrokenOff),
            };
            total += chunk.len() as u64;
            if total > permission.size {
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
        Ok(Received { draft, target })
    }

    /// Removes what uploads that were broken off by a crash have left, if it is older than a day; says how many files.
    pub async fn sweep(&self) -> Result<u64, ProviderError> {
        let old = |at: SystemTime| at.elapsed().is_ok_and(|age| age > Duration::from_secs(86_400));
        let mut entries = match fs::read_dir(self.folder.join(TEMPORARY)).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed("read", &error)),
        };
        let mut removed = 0;
        while let Some(entry) = entries.next_entry().await.map_err(|error| failed("read", &error))? {
            let modified = entry.metadata().await.and_then(|metadata| metadata.modified());
            if modified.is_ok_and(old) && fs::remove_file(entry.path()).await.is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// A file under a temporary name; gone when it is dropped, unless it was kept.
struct Draft {
    path: PathBuf,
    file: Arc<std::fs::File>,
}

impl Draft {
    async fn create(folder: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(folder).await?;
        let path = folder.join(uuid::Uuid::now_v7().to_string());
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&path).await?;
        Ok(Self { path, file: Arc::new(file.into_std().await) })
    }

    /// Tokio's own file would copy the bytes, and hold a buffer for as long as it is open.
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
        // Fails where it was renamed. Quick enough for any thread: one name is taken out of a folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Bytes that were taken whole.
pub struct Received {
    draft: Draft,
    target: PathBuf,
}

impl Received {
    /// Gives them their name, in place of what had it before. It may be lost with the machine until [`Named::settle`].
    pub async fn keep(self) -> Result<Named, ProviderError> {
        let failed = |error: std::io::Error| failed("write", &error);
        let folder = self.target.parent().unwrap_or(Path::new(".")).to_owned();
        fs::create_dir_all(&folder).await.map_err(failed)?;
        fs::rename(&self.draft.path, &self.target).await.map_err(failed)?;
        Ok(Named { folder })
    }
}

/// Bytes under their name.
#[must_use]
pub struct Named {
    folder: PathBuf,
}

impl Named {
    /// Makes the name durable, which it is only with its folder.
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
