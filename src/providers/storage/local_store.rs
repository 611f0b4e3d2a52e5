//! Files in a local folder, and the signed tokens that permit uploads and downloads.
//!
//! A file is written under a temporary name, synced and then renamed, so that no partial file ever has a final name, even
//! after a crash.

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

use crate::platform::crypto::{KeyRing, Keys};
use crate::providers::ProviderError;

/// Files being received, below the folder.
const TEMPORARY: &str = ".uploads";
/// Write buffer in bytes. A larger one would delay other requests for longer.
const BUFFER: usize = 64 * 1024;
/// Idle time-out of an upload.
const SILENCE: Duration = Duration::from_secs(60);

/// Claims of a signed token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    #[serde(rename = "m")]
    pub method: Use,
    #[serde(rename = "k")]
    pub key: String,
    #[serde(rename = "t")]
    pub content_type: String,
    /// Maximum size of an upload, in bytes.
    #[serde(rename = "s", default)]
    pub size: u64,
    /// File name of a download.
    #[serde(rename = "n", default)]
    pub filename: String,
    /// Expiry in Unix seconds.
    #[serde(rename = "e")]
    pub expires: i64,
}

/// Operation that a token permits; it is invalid for the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Use {
    #[serde(rename = "PUT")]
    Upload,
    #[serde(rename = "GET")]
    Download,
}

/// Why an upload was refused.
#[derive(Debug)]
pub enum Refused {
    /// More bytes than declared.
    TooLarge,
    /// No bytes.
    Empty,
    /// The client disconnected or was idle for too long.
    BrokenOff,
    Store(ProviderError),
}

/// The local folder and its signing keys.
pub struct Local {
    folder: PathBuf,
    keys: KeyRing,
}

impl Local {
    pub fn new(folder: PathBuf, keys: &Keys) -> Self {
        Self { folder, keys: keys.ring("local-storage") }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn sign(&self, permission: &Permission) -> Result<String, ProviderError> {
        let payload =
            serde_json::to_vec(permission).map_err(|_| ProviderError::Rejected("local: a permission cannot be written".to_owned()))?;
        let mac = self.keys.mac(&[&payload]);
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(mac)))
    }

    /// Returns the token's claims if its signature is valid, it permits this operation and it has not expired.
    pub fn read_token(&self, token: &str, wanted: Use, now: DateTime<Utc>) -> Option<Permission> {
        let (payload, mac) = token.split_once('.')?;
        let (payload, mac) = (URL_SAFE_NO_PAD.decode(payload).ok()?, URL_SAFE_NO_PAD.decode(mac).ok()?);
        if !self.keys.verify::<32>(&[&payload], mac.as_slice().try_into().ok()?) {
            return None;
        }
        let permission: Permission = serde_json::from_slice(&payload).ok()?;
        (permission.method == wanted && permission.expires > now.timestamp()).then_some(permission)
    }

    /// Returns the path of an object. Rejects keys that would leave the folder, although the server generates all keys.
    pub fn path(&self, key: &str) -> Result<PathBuf, ProviderError> {
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
        if !key.split('/').all(plain) {
            return Err(ProviderError::Rejected("local: the key is none of ours".to_owned()));
        }
        Ok(self.folder.join(key))
    }

    /// Writes and syncs an upload under a temporary name; [`Received::keep`] renames it.
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

    /// Removes temporary files older than a day, left by interrupted uploads; returns how many.
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

/// A file under a temporary name; removed on drop unless it was renamed.
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
}

impl Received {
    /// Renames the file, replacing an earlier one. A crash may lose the new name until [`Named::settle`] has run.
    pub async fn keep(self) -> Result<Named, ProviderError> {
        let failed = |error: std::io::Error| failed("write", &error);
        let folder = self.target.parent().unwrap_or(Path::new(".")).to_owned();
        fs::create_dir_all(&folder).await.map_err(failed)?;
        fs::rename(&self.draft.path, &self.target).await.map_err(failed)?;
        Ok(Named { folder })
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
