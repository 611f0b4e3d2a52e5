//! The presigned request that the store takes for one object alone.

use async_trait::async_trait;

use crate::providers::ProviderError;
use crate::providers::storage::bucket::{Bucket, Uploads};
use crate::providers::storage::{Method, Moment, NewObject, Upload};

pub(super) struct Put;

#[async_trait]
impl Uploads for Put {
    async fn permit(bucket: &Bucket<Self>, object: &NewObject, at: Moment<'_>) -> Result<Upload, ProviderError> {
        let url = bucket.presigned_put(&object.key, &object.content_type, object.size, at).await?;
        Ok(Upload { url, method: Method::Put, fields: None })
    }
}
