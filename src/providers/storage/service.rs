//! The configured store: each operation has a time limit and metrics.

use std::sync::Arc;
use std::time::Instant;

use super::config::Config;
use super::local_store::Local;
use super::object::{NewObject, SigningContext, StoredObject, Upload};
use super::provider::{StorageProvider, TIMEOUT};
use crate::platform::telemetry::metrics::Metrics;
use crate::providers::ProviderError;
use crate::providers::vendor::Outside;

/// The configured store. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Storage {
    provider: Arc<dyn StorageProvider>,
    metrics: Metrics,
}

impl Storage {
    pub fn new(config: &Config, outside: &Outside) -> Result<Self, ProviderError> {
        Ok(Self { provider: config.vendor.connect(outside)?, metrics: outside.metrics.clone() })
    }

    pub fn name(&self) -> &'static str {
        self.provider.name()
    }

    /// The local folder, if that is the store.
    pub fn local(&self) -> Option<&Local> {
        self.provider.local()
    }

    pub async fn presign_upload(&self, object: &NewObject, context: SigningContext<'_>) -> Result<Upload, ProviderError> {
        self.provider.presign_upload(object, context).await
    }

    pub async fn presign_download(&self, object: &StoredObject, context: SigningContext<'_>) -> Result<String, ProviderError> {
        self.provider.presign_download(object, context).await
    }

    pub async fn size(&self, key: &str) -> Result<Option<u64>, ProviderError> {
        self.measured("size", self.provider.size(key)).await
    }

    pub async fn read_prefix(&self, key: &str, bytes: usize) -> Result<Vec<u8>, ProviderError> {
        self.measured("read", self.provider.read_prefix(key, bytes)).await
    }

    pub async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ProviderError> {
        self.measured("write", self.provider.put(key, content_type, bytes)).await
    }

    pub async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        self.measured("delete", self.provider.delete(key)).await
    }

    async fn measured<T>(&self, operation: &str, work: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
        let started = Instant::now();
        let outcome = tokio::time::timeout(TIMEOUT, work).await.unwrap_or_else(|_| {
            Err(ProviderError::Transient { message: format!("{}: no answer in {} s", self.name(), TIMEOUT.as_secs()), retry_after: None })
        });
        self.metrics.external(self.name(), operation, outcome.is_ok(), started.elapsed().as_secs_f64());
        outcome
    }
}
