//! The storage provider trait.

use std::time::Duration;

use async_trait::async_trait;

use super::local_store::Local;
use super::object::{NewObject, SigningContext, StoredObject, Upload};
use crate::providers::ProviderError;

/// Time limit of one operation; clients' uploads and downloads are not operations.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit of one call, retries included. Shorter than [`TIMEOUT`], so that the circuit breaker sees the failure of a vendor
/// that does not answer.
pub const CALL: Duration = Duration::from_secs(28);

/// An object store.
#[async_trait]
pub trait StorageProvider: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// The local folder, if this store is one; then the server itself receives and sends the bytes.
    fn local(&self) -> Option<&Local> {
        None
    }

    /// Signs a request that uploads exactly this object.
    async fn presign_upload(&self, object: &NewObject, context: SigningContext<'_>) -> Result<Upload, ProviderError>;

    /// Signs a URL that downloads the object as an attachment.
    async fn presign_download(&self, object: &StoredObject, context: SigningContext<'_>) -> Result<String, ProviderError>;

    /// Returns the object's size in bytes; `None` if there is no such object.
    async fn size(&self, key: &str) -> Result<Option<u64>, ProviderError>;

    /// Returns the first bytes of an object, at most `bytes`.
    async fn read_prefix(&self, key: &str, bytes: usize) -> Result<Vec<u8>, ProviderError>;

    /// Writes a small object.
    async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ProviderError>;

    /// Removes the object. An object that does not exist counts as removed.
    async fn delete(&self, key: &str) -> Result<(), ProviderError>;
}
