//! Storage: where the bytes of files are. [`Storage`] is what the rest of the server uses; a vendor is one file here, its
//! lines in `config.rs` and in [`provider`].
//!
//! Clients send and fetch bytes by signed permissions that hold for an hour. Only the local folder passes them through us.

#[cfg(feature = "s3")]
mod bucket;
pub mod cloudinary;
pub mod config;
pub mod disposition;
pub mod local;
pub mod r2;
pub mod s3;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::ProviderError;
use crate::platform::crypto::Keys;
use crate::platform::telemetry::metrics::METRICS;
pub use config::Config;
use config::Vendor;

/// The time for one question to the store; bytes of clients do not pass through any.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a permission holds.
pub const PERMISSION: TimeDelta = TimeDelta::hours(1);

/// An object about to be uploaded.
#[derive(Debug, Clone)]
pub struct NewObject {
    pub key: String,
    pub content_type: String,
    /// Bytes at most.
    pub size: u64,
}

/// An object to be fetched, under a name of its own.
#[derive(Debug, Clone)]
pub struct KeptObject {
    pub key: String,
    pub content_type: String,
    pub filename: String,
}

/// When a permission is given, and how the client reaches us.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'m> {
    pub now: DateTime<Utc>,
    /// Without a slash at its end.
    pub base_url: &'m str,
}

/// How a client sends the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub url: String,
    pub method: Method,
    /// Members of the form that come before the file.
    pub fields: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// The raw bytes, with the declared `Content-Type`.
    Put,
    /// A form (`multipart/form-data`) with all fields and then `file`.
    Post,
}

/// Somewhere to keep objects.
#[async_trait]
pub trait StorageProvider: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// The folder of this machine, if that is what it is.
    fn local(&self) -> Option<&local::Local> {
        None
    }

    async fn permit_upload(&self, object: &NewObject, at: Moment<'_>) -> Result<Upload, ProviderError>;

    /// An address that gives the object as an attachment.
    async fn permit_download(&self, object: &KeptObject, at: Moment<'_>) -> Result<String, ProviderError>;

    /// Bytes of the object; `None` where there is none.
    async fn size(&self, key: &str) -> Result<Option<u64>, ProviderError>;

    /// The first bytes of an object, at most so many.
    async fn start(&self, key: &str, bytes: usize) -> Result<Vec<u8>, ProviderError>;

    /// Writes a small object.
    async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ProviderError>;

    /// Removes the object. One that is not there is removed already.
    async fn delete(&self, key: &str) -> Result<(), ProviderError>;
}

/// The configured store; a clone is one counter. Each question is timed, counted and given up after a while.
#[derive(Clone)]
pub struct Storage(Arc<dyn StorageProvider>);

impl Storage {
    pub fn new(config: &Config, keys: &Keys, client: &reqwest::Client) -> Result<Self, ProviderError> {
        provider(config, keys, client).map(Self)
    }

    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    pub fn local(&self) -> Option<&local::Local> {
        self.0.local()
    }

    pub async fn permit_upload(&self, object: &NewObject, at: Moment<'_>) -> Result<Upload, ProviderError> {
        self.0.permit_upload(object, at).await
    }

    pub async fn permit_download(&self, object: &KeptObject, at: Moment<'_>) -> Result<String, ProviderError> {
        self.0.permit_download(object, at).await
    }

    pub async fn size(&self, key: &str) -> Result<Option<u64>, ProviderError> {
        self.asked("size", self.0.size(key)).await
    }

    pub async fn start(&self, key: &str, bytes: usize) -> Result<Vec<u8>, ProviderError> {
        self.asked("read", self.0.start(key, bytes)).await
    }

    pub async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ProviderError> {
        self.asked("write", self.0.put(key, content_type, bytes)).await
    }

    pub async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        self.asked("delete", self.0.delete(key)).await
    }

    async fn asked<T>(&self, operation: &str, question: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
        let started = Instant::now();
        let answer = tokio::time::timeout(TIMEOUT, question).await.unwrap_or_else(|_| {
            Err(ProviderError::Transient { message: format!("{}: no answer in {} s", self.name(), TIMEOUT.as_secs()), retry_after: None })
        });
        METRICS.external(self.name(), operation, answer.is_ok(), started.elapsed().as_secs_f64());
        answer
    }
}

/// The configured vendor.
#[rustfmt::skip] // A line each: a vendor goes with its lines.
fn provider(config: &Config, keys: &Keys, client: &reqwest::Client) -> Result<Arc<dyn StorageProvider>, ProviderError> {
    match config.vendor {
        Vendor::Local => Ok(Arc::new(local::Local::new(&config.local, keys))),
        Vendor::S3 => config.s3.provider(),
        Vendor::R2 => config.r2.provider(),
        Vendor::Cloudinary => config.cloudinary.provider(client.clone()),
    }
}
