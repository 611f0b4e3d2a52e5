//! Cloudflare R2, through its S3 API. R2 does not support form uploads, so an upload is a PUT of exactly the declared object
//! (<https://developers.cloudflare.com/r2/api/s3/presigned-urls/>).

#[cfg(feature = "s3")]
mod put;

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::provider::StorageProvider;
use crate::platform::config::Env;
use crate::providers::ProviderError;
use crate::providers::vendor::{Outside, Vendor, VendorSettings};

const NAME: &str = "r2";

pub(super) static VENDOR: Vendor<dyn StorageProvider> = Vendor { name: NAME, read: |env| Arc::new(Settings::read(env)) };

#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "read to be documented and checked; there is no R2 in this build"))]
struct Settings {
    account: Option<String>,
    access_key: Option<SecretString>,
    secret_key: Option<SecretString>,
    bucket: Option<String>,
    endpoint: Option<Url>,
}

impl Settings {
    fn read(env: &mut Env) -> Self {
        Self {
            account: env
                .var("R2_ACCOUNT_ID", "r2: account ID")
                .optional_checked(|id: &String| id.bytes().all(|b| b.is_ascii_alphanumeric()), "the account's id, of letters and digits"),
            access_key: env.var("R2_ACCESS_KEY_ID", "r2: access key ID").secret(1),
            secret_key: env.var("R2_SECRET_ACCESS_KEY", "r2: secret access key").secret(1),
            bucket: env.var("R2_BUCKET", "r2: bucket").optional(),
            endpoint: env
                .var("R2_ENDPOINT_URL", "r2: endpoint of its API, for a jurisdiction or for tests")
                .shown_default("`https://<R2_ACCOUNT_ID>.r2.cloudflarestorage.com`")
                .optional(),
        }
    }
}

impl VendorSettings<dyn StorageProvider> for Settings {
    fn check(&self, env: &mut Env) {
        if !cfg!(feature = "s3") {
            let reason = format!("is `{NAME}`, but this binary was built without it");
            env.problem("STORAGE_PROVIDER", reason, "Build it with the cargo feature `s3`, or choose another one");
        }
        for variable in ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET"] {
            env.require(variable, "STORAGE_PROVIDER", NAME);
        }
        // Only the usual endpoint is made from it.
        if !env.is_set("R2_ENDPOINT_URL") {
            env.require("R2_ACCOUNT_ID", "STORAGE_PROVIDER", NAME);
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
        let usual = || Url::parse(&format!("https://{}.r2.cloudflarestorage.com", self.account.as_ref()?)).ok();
        let place = super::bucket::Place {
            vendor: NAME,
            bucket: self.bucket.clone().ok_or_else(missing)?,
            region: "auto".to_owned(),
            endpoint: Some(self.endpoint.clone().or_else(usual).ok_or_else(missing)?),
            access_key: self.access_key.as_ref().ok_or_else(missing)?.expose_secret().to_owned(),
            secret_key: self.secret_key.clone().ok_or_else(missing)?,
        };
        Ok(Arc::new(super::bucket::Bucket::<put::Put>::new(place, outside.service_with_breaker(NAME))))
    }
}
