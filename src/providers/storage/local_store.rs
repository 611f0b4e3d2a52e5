//! Files in a local folder, and the signed tokens that permit uploads and downloads.
//!
//! How an upload is received is in `local_upload`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::fs;

use super::local_upload::{Drafts, Received};
use crate::platform::crypto::{KeyRing, Keys};
use crate::providers::ProviderError;

pub use super::local_upload::{MinimumRate, Refused, failed};

/// Files being received, below the folder.
const TEMPORARY: &str = ".uploads";

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

/// The local folder and its signing keys.
pub struct Local {
    folder: PathBuf,
    keys: KeyRing,
    drafts: Drafts,
    rate: MinimumRate,
}

impl Local {
    pub fn new(folder: PathBuf, keys: &Keys) -> Self {
        let drafts = Drafts::new(folder.join(TEMPORARY));
        Self { folder, keys: keys.ring("local-storage"), drafts, rate: MinimumRate::default() }
    }

    /// Replaces the rate below which an upload is ended.
    #[must_use]
    pub fn with_minimum_rate(self, rate: MinimumRate) -> Self {
        Self { rate, ..self }
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
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Received, Refused> {
        let target = self.path(&permission.key).map_err(Refused::Store)?;
        self.drafts.receive(target, permission.size, self.rate, body).await
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
