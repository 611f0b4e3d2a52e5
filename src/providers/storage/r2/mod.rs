//! Cloudflare R2, by its S3 API. It takes no forms, so that an upload is a PUT of exactly what was declared
//! (<https://developers.cloudflare.com/r2/api/s3/presigned-urls/>).

#[cfg(feature = "s3")]
mod put;

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::StorageProvider;
use super::config::Vendor;
use crate::platform::config::Env;
use crate::providers::ProviderError;

#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "read to be documented and checked; there is no R2 in this build"))]
pub struct Settings {
    account: Option<String>,
    access_key: Option<SecretString>,
    secret_key: Option<SecretString>,
    bucket: Option<String>,
    endpoint: Option<Url>,
}

impl Settings {
    pub fn read(env: &mut Env) -> Self {
        Self {
            account: env
                .var("R2_ACCOUNT_ID", "r2: the account")
                .optional_checked(|id: &String| id.bytes().all(|b| b.is_ascii_alphanumeric()), "the account's id, of letters and digits"),
            access_key: env.var("R2_ACCESS_KEY_ID", "r2: the id of the key").secret(1),
            secret_key: env.var("R2_SECRET_ACCESS_KEY", "r2: the key").secret(1),
            bucket: env.var("R2_BUCKET", "r2: the bucket").optional(),
            endpoint: env
                .var("R2_ENDPOINT_URL", "r2: another place for its API, for a jurisdiction or for tests")
                .shown_default("`https://<R2_ACCOUNT_ID>.r2.cloudflarestorage.com`")
                .optional(),
        }
    }

    #[cfg(not(feature = "s3"))]
    pub fn provider(&self) -> Result<Arc<dyn StorageProvider>, ProviderError> {
        Err(ProviderError::NotConfigured("r2"))
    }

    #[cfg(feature = "s3")]
    pub fn provider(&self) -> Result<Arc<dyn StorageProvider>, ProviderError> {
        use secrecy::ExposeSecret;

        let missing = || ProviderError::NotConfigured("r2");
        let usual = || Url::parse(&format!("https://{}.r2.cloudflarestorage.com", self.account.as_ref()?)).ok();
        Ok(Arc::new(super::bucket::Bucket::<put::Put>::new(super::bucket::Place {
            vendor: "r2",
            bucket: self.bucket.clone().ok_or_else(missing)?,
            region: "auto".to_owned(),
            endpoint: Some(self.endpoint.clone().or_else(usual).ok_or_else(missing)?),
            access_key: self.access_key.as_ref().ok_or_else(missing)?.expose_secret().to_owned(),
            secret_key: self.secret_key.clone().ok_or_else(missing)?,
        })))
    }
}

pub(super) fn check(env: &mut Env) {
    super::config::needs_s3(env, Vendor::R2);
    for variable in ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET"] {
        env.require(variable, "STORAGE_PROVIDER", Vendor::R2);
    }
    // Only the usual endpoint is made from it.
    if !env.is_set("R2_ENDPOINT_URL") {
        env.require("R2_ACCOUNT_ID", "STORAGE_PROVIDER", Vendor::R2);
    }
}
