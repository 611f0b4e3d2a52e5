//! A bucket behind the S3 API, through the AWS SDK: the common part of S3 and R2. They differ in how clients upload.

use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use super::disposition::attachment;
use super::object::{NewObject, PRESIGN_TTL, SigningContext, StoredObject, Upload};
use super::provider::{CALL, StorageProvider};
use crate::platform::outgoing::{AccountProblem, Retry, Service};
use crate::providers::{LibraryFailure, ProviderError};

/// Time limit of one attempt. It leaves time for a second one.
const ATTEMPT: Duration = Duration::from_secs(20);

/// Location and credentials of a bucket.
#[derive(Debug, Clone)]
pub struct Place {
    pub vendor: &'static str,
    pub bucket: String,
    pub region: String,
    /// Endpoint of a server other than AWS; implies path-style URLs.
    pub endpoint: Option<Url>,
    pub access_key: String,
    pub secret_key: SecretString,
}

/// How a vendor lets clients upload.
#[async_trait]
pub trait Uploads: Send + Sync + Sized + 'static {
    async fn presign(bucket: &Bucket<Self>, object: &NewObject, context: SigningContext<'_>) -> Result<Upload, ProviderError>;
}

pub struct Bucket<U> {
    pub place: Place,
    pub client: Client,
    service: Service,
    uploads: PhantomData<U>,
}

impl<U: Uploads> Bucket<U> {
    pub fn new(place: Place, service: Service) -> Self {
        let credentials = Credentials::new(&place.access_key, place.secret_key.expose_secret(), None, None, "configuration");
        let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(5)).operation_attempt_timeout(ATTEMPT).build();
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(place.region.clone()))
            .credentials_provider(credentials)
            .timeout_config(timeouts)
            // Repeated by `Service::run` instead: two layers would multiply the attempts.
            .retry_config(RetryConfig::disabled())
            // Servers other than AWS reject the checksum trailers that the SDK adds by default.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &place.endpoint {
            config = config.endpoint_url(endpoint.as_str().trim_end_matches('/')).force_path_style(true);
        }
        Self { client: Client::from_conf(config.build()), place, service, uploads: PhantomData }
    }

    pub fn signing(&self, context: SigningContext<'_>) -> Result<PresigningConfig, ProviderError> {
        let life = PRESIGN_TTL.to_std().unwrap_or_default();
        let config = PresigningConfig::builder().start_time(SystemTime::from(context.now)).expires_in(life).build();
        config.map_err(|_| self.rejected("a permission cannot be signed"))
    }

    pub fn rejected(&self, what: &str) -> ProviderError {
        ProviderError::Rejected(format!("{}: {what}", self.place.vendor))
    }

    /// Reports the vendor's error code but not its message, which may contain keys.
    pub fn failed<E: ProvideErrorMetadata>(&self, doing: &str, error: &SdkError<E>) -> ProviderError {
        self.failure(doing, error).error
    }

    /// Runs a call with retries, through the circuit breaker. All calls may be repeated: reads, and writes of the same bytes
    /// under the same key.
    async fn call<T, F>(&self, call: impl FnMut() -> F) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, LibraryFailure>>,
    {
        let outcome = self.service.run(Retry::until(Instant::now() + CALL), call).await;
        if outcome.is_ok() {
            self.service.account_problem(None);
        }
        outcome.map_err(|failure| failure.error)
    }

    /// [`Bucket::failed`], with what retries and the circuit breaker must know.
    fn failure<E: ProvideErrorMetadata>(&self, doing: &str, error: &SdkError<E>) -> LibraryFailure {
        let SdkError::ServiceError(service) = error else {
            let why = match error {
                SdkError::TimeoutError(_) => "no answer in time",
                SdkError::DispatchFailure(_) => "cannot be reached",
                SdkError::ConstructionFailure(_) => {
                    return LibraryFailure {
                        error: self.rejected(&format!("cannot {doing}: the request cannot be made")),
                        vendor_works: None,
                    };
                }
                _ => "the answer broke off",
            };
            return self.outage(&format!("cannot {doing}: {why}"));
        };
        let (status, code) = (service.raw().status().as_u16(), service.err().code().unwrap_or("without a code"));
        if matches!(code, "InvalidAccessKeyId" | "SignatureDoesNotMatch") {
            self.service.account_problem(Some(AccountProblem::KeyRefused));
        }
        let message = format!("{}: cannot {doing}: {status} {code}", self.place.vendor);
        let error = if status >= 500 || status == 429 {
            let retry_after = service.raw().headers().get("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs);
            ProviderError::Transient { message, retry_after }
        } else {
            ProviderError::Rejected(message)
        };
        LibraryFailure { error, vendor_works: Some(status < 500) }
    }

    fn outage(&self, what: &str) -> LibraryFailure {
        let message = format!("{}: {what}", self.place.vendor);
        LibraryFailure { error: ProviderError::Transient { message, retry_after: None }, vendor_works: Some(false) }
    }
}

#[async_trait]
impl<U: Uploads> StorageProvider for Bucket<U> {
    fn name(&self) -> &'static str {
        self.place.vendor
    }

    async fn presign_upload(&self, object: &NewObject, context: SigningContext<'_>) -> Result<Upload, ProviderError> {
        U::presign(self, object, context).await
    }

    async fn presign_download(&self, object: &StoredObject, context: SigningContext<'_>) -> Result<String, ProviderError> {
        let get = self.client.get_object().bucket(&self.place.bucket).key(&object.key);
        let get = get.response_content_disposition(attachment(&object.filename)).response_content_type(&object.content_type);
        let signed = get.presigned(self.signing(context)?).await.map_err(|error| self.failed("sign", &error))?;
        Ok(signed.uri().to_owned())
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ProviderError> {
        let head = || async {
            match self.client.head_object().bucket(&self.place.bucket).key(key).send().await {
                Ok(head) => Ok(Some(head.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0))),
                Err(SdkError::ServiceError(error)) if error.err().is_not_found() => Ok(None),
                Err(error) => Err(self.failure("look for an object", &error)),
            }
        };
        self.call(head).await
    }

    async fn read_prefix(&self, key: &str, bytes: usize) -> Result<Vec<u8>, ProviderError> {
        let range = format!("bytes=0-{}", bytes.saturating_sub(1));
        let get = || async {
            let got = self.client.get_object().bucket(&self.place.bucket).key(key).range(&range).send().await;
            let mut body = got.map_err(|error| self.failure("read an object", &error))?.body;
            let mut start = Vec::new();
            // A server without range support sends the whole object: read no more than requested.
            while start.len() < bytes {
                match body.next().await {
                    Some(Ok(chunk)) => start.extend_from_slice(&chunk),
                    Some(Err(_)) => return Err(self.outage("the connection broke")),
                    None => break,
                }
            }
            start.truncate(bytes);
            Ok(start)
        };
        self.call(get).await
    }

    async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ProviderError> {
        let bytes = Bytes::from(bytes);
        let put = || async {
            let put = self.client.put_object().bucket(&self.place.bucket).key(key).content_type(content_type);
            put.body(ByteStream::from(bytes.clone())).send().await.map_err(|error| self.failure("write an object", &error))?;
            Ok(())
        };
        self.call(put).await
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        let delete = || async {
            match self.client.delete_object().bucket(&self.place.bucket).key(key).send().await {
                Ok(_) => Ok(()),
                // S3 itself says 204; some servers do not.
                Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
                Err(error) => Err(self.failure("delete an object", &error)),
            }
        };
        self.call(delete).await
    }
}
