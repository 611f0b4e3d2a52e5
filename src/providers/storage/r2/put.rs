//! Presigned PUT request for exactly one object.

use async_trait::async_trait;

use crate::providers::ProviderError;
use crate::providers::storage::bucket::{Bucket, Uploads};
use crate::providers::storage::object::{Method, NewObject, SigningContext, Upload};

pub(super) struct Put;

#[async_trait]
impl Uploads for Put {
    async fn presign(bucket: &Bucket<Self>, object: &NewObject, context: SigningContext<'_>) -> Result<Upload, ProviderError> {
        let size = i64::try_from(object.size).map_err(|_| bucket.rejected("too large"))?;
        // Exactly these bytes of this type: both are among the signed headers.
        let put = bucket.client.put_object().bucket(&bucket.place.bucket).key(&object.key);
        let put = put.content_type(&object.content_type).content_length(size);
        let signed = put.presigned(bucket.signing(context)?).await.map_err(|error| bucket.failed("sign", &error))?;
        Ok(Upload { url: signed.uri().to_owned(), method: Method::Put, fields: None })
    }
}
