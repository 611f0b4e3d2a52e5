//! The store itself.

use async_trait::async_trait;

use crate::providers::ProviderError;
use crate::providers::storage::bucket::Bucket;
use crate::providers::storage::{KeptObject, Method, Moment, NewObject, StorageProvider, Upload};

pub(super) struct R2(pub Bucket);

#[async_trait]
impl StorageProvider for R2 {
    fn name(&self) -> &'static str {
        "r2"
    }

    async fn permit_upload(&self, object: &NewObject, at: Moment<'_>) -> Result<Upload, ProviderError> {
        let url = self.0.presigned_put(&object.key, &object.content_type, object.size, at).await?;
        Ok(Upload { url, method: Method::Put, fields: None })
    }

    async fn permit_download(&self, object: &KeptObject, at: Moment<'_>) -> Result<String, ProviderError> {
        self.0.presigned_get(object, at).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ProviderError> {
        self.0.size(key).await
    }

    async fn start(&self, key: &str, bytes: usize) -> Result<Vec<u8>, ProviderError> {
        self.0.start(key, bytes).await
    }

    async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ProviderError> {
        self.0.put(key, content_type, bytes).await
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        self.0.delete(key).await
    }
}
