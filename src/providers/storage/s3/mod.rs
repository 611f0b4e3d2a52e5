//! Amazon S3, and every server that speaks its API (`MinIO`, Ceph, …): uploads are forms, whose policy the store enforces
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>).

#[cfg(feature = "s3")]
mod form;

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::provider::StorageProvider;
use crate::platform::config::Env;
use crate::providers::ProviderError;
use crate::providers::vendor::{Outside, Vendor, VendorSettings};

const NAME: &str = "s3";

pub(super) static VENDOR: Vendor<dyn StorageProvider> = Vendor { name: NAME, read: |env| Arc::new(Settings::read(env)) };

#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "read to be documented and checked; there is no S3 in this build"))]
struct Settings {
    access_key: Option<SecretString>,
    secret_key: Option<SecretString>,
    bucket: Option<String>,
    region: String,
    endpoint: Option<Url>,
}

impl Settings {
    fn read(env: &mut Env) -> Self {
        Self {
            access_key: env.var("AWS_ACCESS_KEY_ID", "s3: access key ID").secret(1),
            secret_key: env.var("AWS_SECRET_ACCESS_KEY", "s3: secret access key").secret(1),
            bucket: env.var("AWS_S3_BUCKET", "s3: bucket").optional(),
            region: env.var("AWS_REGION", "s3: region of the bucket").or("us-east-1".to_owned()),
            endpoint: env.var("S3_ENDPOINT_URL", "s3: endpoint of an S3-compatible server, e.g. http://localhost:9000").optional(),
        }
    }
}

impl VendorSettings<dyn StorageProvider> for Settings {
    fn check(&self, env: &mut Env) {
        if !cfg!(feature = "s3") {
            let reason = format!("is `{NAME}`, but this binary was built without it");
            env.problem("STORAGE_PROVIDER", reason, "Build it with the cargo feature `s3`, or choose another one");
        }
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_S3_BUCKET"] {
            env.require(variable, "STORAGE_PROVIDER", NAME);
        }
    }

    #[cfg(not(feature = "s3"))]
    fn connect(&self, _: &Outside) -> Result<Arc<dyn StorageProvider>, ProviderError> {
        Err(ProviderError::NotConfigured(NAME))
    }

    #[cfg(feature = "s3")]
    fn connect(&self, outside: &Outside) -> Result<Arc<dyn StorageProvider>, ProviderError> {
        use secrecy::ExposeSecret;

        let missing = || ProviderError::NotConfigured(NAME);
        let place = super::bucket::Place {
            vendor: NAME,
            bucket: self.bucket.clone().ok_or_else(missing)?,
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            access_key: self.access_key.as_ref().ok_or_else(missing)?.expose_secret().to_owned(),
            secret_key: self.secret_key.clone().ok_or_else(missing)?,
        };
        Ok(Arc::new(super::bucket::Bucket::<form::Form>::new(place, outside.service_with_breaker(NAME))))
    }
}
