//! A folder of this machine. The service hands out permissions signed by itself, and takes and gives the bytes.
//!
//! A file is written under a temporary name, made durable and then renamed, so that no half of one ever stands under the
//! name of a whole one, whatever happens to the process.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::fs;
use tokio::io::AsyncReadExt;

use super::{KeptObject, Method, Moment, NewObject, PERMISSION, StorageProvider, Upload};
use crate::platform::config::Env;
use crate::platform::crypto::{self, Key, Keys};
use crate::providers::ProviderError;

/// Files being received, below the folder.
const TEMPORARY: &str = ".uploads";
/// Bytes gathered before they are written. More at once would hold up other requests for longer.
const BUFFER: usize = 64 * 1024;
/// A client that sends nothing for this long has gone.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Settings {
    folder: PathBuf,
}

impl Settings {
    pub fn read(env: &mut Env) -> Self {
        Self { folder: env.var("LOCAL_STORAGE_DIR", "local: the folder").or(PathBuf::from("./storage")) }
    }
}

pub(super) fn check(env: &mut Env) {
    if env.environment().is_production() {
        env.warning(
            "STORAGE_PROVIDER",
            "is `local`: files are on this machine alone, and lost with it",
            "Choose a store that all instances share, or keep the folder on a volume that is backed up",
        );
    }
}

/// What a signed token permits, to whoever has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    #[serde(rename = "m")]
    method: Use,
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
    expires: i64,
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
    pub fn new(settings: &Settings, keys: &Keys) -> Self {
        Self { folder: settings.folder.clone(), key: keys.derive("local-storage") }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn sign(&self, permission: &Permission) -> Result<String, ProviderError> {
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

/// Paths are nobody's business but the log's, which has the kind.
pub fn failed(doing: &str, error: &std::io::Error) -> ProviderError {
    ProviderError::Transient { message: format!("local: cannot {doing}: {}", error.kind()), retry_after: None }
}

#[async_trait]
impl StorageProvider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn local(&self) -> Option<&Local> {
        Some(self)
    }

    async fn permit_upload(&self, object: &NewObject, at: Moment<'_>) -> Result<Upload, ProviderError> {
        let token = self.sign(&Permission {
            method: Use::Upload,
            key: object.key.clone(),
            content_type: object.content_type.clone(),
            size: object.size,
            filename: String::new(),
            expires: (at.now + PERMISSION).timestamp(),
        })?;
        Ok(Upload { url: format!("{}/api/v1/public/storage/upload/{token}", at.base_url), method: Method::Put, fields: None })
    }

    async fn permit_download(&self, object: &KeptObject, at: Moment<'_>) -> Result<String, ProviderError> {
        let token = self.sign(&Permission {
            method: Use::Download,
            key: object.key.clone(),
            content_type: object.content_type.clone(),
            size: 0,
            filename: object.filename.clone(),
            expires: (at.now + PERMISSION).timestamp(),
        })?;
        Ok(format!("{}/api/v1/public/storage/download/{token}", at.base_url))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ProviderError> {
        match fs::metadata(self.path(key)?).await {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &error)),
        }
    }

    async fn start(&self, key: &str, bytes: usize) -> Result<Vec<u8>, ProviderError> {
        let file = fs::File::open(self.path(key)?).await.map_err(|error| failed("read", &error))?;
        let mut start = Vec::new();
        file.take(bytes as u64).read_to_end(&mut start).await.map_err(|error| failed("read", &error))?;
        Ok(start)
    }

    async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ProviderError> {
        let permission = Permission {
            method: Use::Upload,
            key: key.to_owned(),
            content_type: content_type.to_owned(),
            size: bytes.len() as u64,
            filename: String::new(),
            expires: 0,
        };
        let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(bytes))]);
        match self.receive(&permission, body).await {
            Ok(received) => received.keep().await?.settle().await,
            Err(Refused::Store(error)) => Err(error),
            Err(_) => Err(ProviderError::Rejected("local: nothing to write".to_owned())),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        let path = self.path(key)?;
        match fs::remove_file(&path).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("delete", &error)),
        }
        // The folder was made for this one object; it fails where another one lies there after all.
        if let Some(folder) = path.parent().filter(|folder| *folder != self.folder) {
            let _ = fs::remove_dir(folder).await;
        }
        Ok(())
    }
}
