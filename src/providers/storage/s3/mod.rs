//! Amazon S3, and every server that speaks its API (`MinIO`, Ceph, …): uploads are forms, whose policy the store enforces
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>).

#[cfg(feature = "s3")]
mod form;

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::StorageProvider;
use super::config::Vendor;
use crate::platform::config::Env;
use crate::providers::ProviderError;

#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "read to be documented and checked; there is no S3 in this build"))]
pub struct Settings {
    access_key: Option<SecretString>,
    secret_key: Option<SecretString>,
    bucket: Option<String>,
    region: String,
    endpoint: Option<Url>,
}

impl Settings {
    pub fn read(env: &mut Env) -> Self {
        Self {
            access_key: env.var("AWS_ACCESS_KEY_ID", "s3: the id of the key").secret(1),
            secret_key: env.var("AWS_SECRET_ACCESS_KEY", "s3: the key").secret(1),
            bucket: env.var("AWS_S3_BUCKET", "s3: the bucket").optional(),
            region: env.var("AWS_REGION", "s3: where the bucket is").or("us-east-1".to_owned()),
            endpoint: env.var("S3_ENDPOINT_URL", "s3: another server that speaks S3, e.g. http://localhost:9000").optional(),
        }
    }

    #[cfg(not(feature = "s3"))]
    pub fn provider(&self) -> Result<Arc<dyn StorageProvider>, ProviderError> {
        Err(ProviderError::NotConfigured("s3"))
    }

    #[cfg(feature = "s3")]
    pub fn provider(&self) -> Result<Arc<dyn StorageProvider>, ProviderError> {
        use secrecy::ExposeSecret;

        let missing = || ProviderError::NotConfigured("s3");
        Ok(Arc::new(super::bucket::Bucket::<form::Form>::new(super::bucket::Place {
            vendor: "s3",
            bucket: self.bucket.clone().ok_or_else(missing)?,
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            access_key: self.access_key.as_ref().ok_or_else(missing)?.expose_secret().to_owned(),
            secret_key: self.secret_key.clone().ok_or_else(missing)?,
        })))
    }
}

pub(super) fn check(env: &mut Env) {
    super::config::needs_s3(env, Vendor::S3);
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_S3_BUCKET"] {
        env.require(variable, "STORAGE_PROVIDER", Vendor::S3);
    }
}
