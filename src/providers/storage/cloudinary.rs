//! Cloudinary, by its upload and admin APIs (<https://cloudinary.com/documentation/image_upload_api_reference>,
//! <https://cloudinary.com/documentation/admin_api>).
//!
//! Cloudinary sorts uploads by content into images (including PDF), videos (including audio) and raw files, and keeps one
//! resource of each kind per name. Its signature limits neither size nor type of an upload, and its links do not expire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{StatusCode, header};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::object::{Method, NewObject, SigningContext, StoredObject, Upload};
use super::provider::{CALL, StorageProvider};
use crate::platform::clock::Clock;
use crate::platform::config::Env;
use crate::platform::crypto;
use crate::platform::outgoing::{Answer, Limits, Service};
use crate::providers::ProviderError;
use crate::providers::vendor::{Outside, Vendor, VendorSettings};

const NAME: &str = "cloudinary";
const API: &str = "https://api.cloudinary.com/";
const DELIVERY: &str = "https://res.cloudinary.com/";
/// The head of an answer must leave time for a second attempt.
const LIMITS: Limits = Limits { head: Duration::from_secs(20), silence: Duration::from_secs(10), total: CALL, bytes: 64 * 1024 };

pub(super) static VENDOR: Vendor<dyn StorageProvider> = Vendor { name: NAME, read: |env| Arc::new(Settings::read(env)) };

#[derive(Debug, Clone)]
struct Settings {
    cloud: Option<String>,
    key: Option<SecretString>,
    secret: Option<SecretString>,
    base_url: Option<Url>,
    delivery_base_url: Option<Url>,
}

impl Settings {
    fn read(env: &mut Env) -> Self {
        let harmless = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        Self {
            cloud: env
                .var("CLOUDINARY_CLOUD_NAME", "cloudinary: cloud name")
                .optional_checked(harmless, "the cloud's name, of letters, digits, `-` and `_`"),
            key: env.var("CLOUDINARY_API_KEY", "cloudinary: API key").secret(1),
            secret: env.var("CLOUDINARY_API_SECRET", "cloudinary: API secret").secret(1),
            base_url: env
                .var("CLOUDINARY_BASE_URL", "cloudinary: base URL of its API, for a region or for tests")
                .shown_default(API)
                .optional(),
            delivery_base_url: env
                .var("CLOUDINARY_DELIVERY_BASE_URL", "cloudinary: base URL of downloads")
                .shown_default(DELIVERY)
                .optional(),
        }
    }
}

impl VendorSettings<dyn StorageProvider> for Settings {
    fn check(&self, env: &mut Env) {
        for variable in ["CLOUDINARY_CLOUD_NAME", "CLOUDINARY_API_KEY", "CLOUDINARY_API_SECRET"] {
            env.require(variable, "STORAGE_PROVIDER", NAME);
        }
    }

    fn connect(&self, outside: &Outside) -> Result<Arc<dyn StorageProvider>, ProviderError> {
        let missing = || ProviderError::NotConfigured(NAME);
        let cloud = self.cloud.as_ref().ok_or_else(missing)?;
        let place = |url: &Option<Url>, home: &str| url.as_ref().map_or(home, Url::as_str).trim_end_matches('/').to_owned();
        Ok(Arc::new(Cloudinary {
            api: format!("{}/v1_1/{cloud}", place(&self.base_url, API)),
            delivery: format!("{}/{cloud}", place(&self.delivery_base_url, DELIVERY)),
            key: self.key.clone().ok_or_else(missing)?,
            secret: self.secret.clone().ok_or_else(missing)?,
            service: outside.service_with_breaker(NAME),
        }))
    }
}

struct Cloudinary {
    api: String,
    delivery: String,
    key: SecretString,
    secret: SecretString,
    service: Service,
}

/// A resource as returned by the admin API.
struct Resource {
    kind: &'static str,
    bytes: u64,
    /// Changes with each upload, so that caches do not return an older version.
    version: Option<u64>,
    /// File extension of the delivery URL; images and videos only.
    format: Option<String>,
}

impl Cloudinary {
    /// Adds timestamp, key and signature to the parameters: SHA-1 of the sorted parameters and the secret
    /// (<https://cloudinary.com/documentation/authentication_signatures>). The signature is valid for an hour.
    fn signed<const N: usize>(&self, parameters: [(&str, &str); N], now: DateTime<Utc>) -> BTreeMap<String, String> {
        let mut fields: BTreeMap<_, _> = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        fields.insert("timestamp".to_owned(), now.timestamp().to_string());
        let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let text = format!("{}{}", pairs.join("&"), self.secret.expose_secret());
        let signature = crypto::hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref());
        fields.insert("api_key".to_owned(), self.key.expose_secret().to_owned());
        fields.insert("signature".to_owned(), signature);
        fields
    }

    fn post(&self, client: &Client, path: &str, fields: &BTreeMap<String, String>) -> RequestBuilder {
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = client.post(format!("{}/{path}", self.api));
        request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
    }

    /// Returns the resource of this key; tries the likeliest kind for its name first.
    async fn find(&self, key: &str) -> Result<Option<Resource>, ProviderError> {
        for kind in kinds(key) {
            let request = |client: &Client| {
                let request = client.get(format!("{}/resources/{kind}/upload/{key}", self.api));
                request.basic_auth(self.key.expose_secret(), Some(self.secret.expose_secret()))
            };
            let answer = self.service.send_repeatable("find", LIMITS, request).await?;
            if answer.status == StatusCode::NOT_FOUND {
                continue;
            }
            let body = self.taken(&answer)?;
            // Placeholder of a deleted resource that had a backup.
            if body["placeholder"] == true {
                continue;
            }
            let bytes = body["bytes"].as_u64().ok_or_else(|| ProviderError::Rejected(format!("{NAME}: told no size")))?;
            let format = body["format"].as_str().filter(|format| kind != "raw" && harmless(format)).map(str::to_owned);
            return Ok(Some(Resource { kind, bytes, version: body["version"].as_u64(), format }));
        }
        Ok(None)
    }

    /// Returns the resource of this key; an error if there is none.
    async fn existing(&self, key: &str) -> Result<Resource, ProviderError> {
        self.find(key).await?.ok_or_else(|| ProviderError::Rejected(format!("{NAME}: the object is gone")))
    }

    /// Returns the JSON of a successful answer. Errors omit the vendor's message, which may contain keys.
    fn taken(&self, answer: &Answer) -> Result<Value, ProviderError> {
        self.service.account_status(answer.status);
        // Cloudinary uses 420 for rate limits, like 429.
        if answer.status.is_success() { Ok(answer.json()) } else { Err(ProviderError::of_answer(NAME, answer, "", answer.status == 420)) }
    }

    /// Returns the delivery URL of a resource; `flags` is a path segment with a trailing slash, or empty.
    fn address(&self, key: &str, resource: &Resource, flags: &str) -> String {
        let version = resource.version.map(|version| format!("v{version}/")).unwrap_or_default();
        let ending = resource.format.as_ref().map(|format| format!(".{format}")).unwrap_or_default();
        format!("{}/{}/upload/{flags}{version}{key}{ending}", self.delivery, resource.kind)
    }
}

fn harmless(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Resource kinds, the likeliest for this name first, because each one costs a request.
fn kinds(key: &str) -> [&'static str; 3] {
    match key.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "avif" | "bmp" | "gif" | "heic" | "heif" | "ico" | "jpeg" | "jpg" | "jxl" | "pdf" | "png" | "svg" | "tif" | "tiff" | "webp" => {
            ["image", "video", "raw"]
        }
        "aac" | "avi" | "flac" | "m4a" | "m4v" | "mkv" | "mov" | "mp3" | "mp4" | "ogg" | "wav" | "webm" => ["video", "image", "raw"],
        _ => ["raw", "image", "video"],
    }
}

/// Returns the download flag. Images and videos accept a file name without extension, of safe characters only; raw files use
/// the last part of their key.
fn attachment(resource: &Resource, filename: &str) -> String {
    let stem = filename.rsplit_once('.').map_or(filename, |(stem, _)| stem);
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).collect();
    if resource.format.is_none() || name.is_empty() { "fl_attachment/".to_owned() } else { format!("fl_attachment:{name}/") }
}

#[async_trait]
impl StorageProvider for Cloudinary {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn presign_upload(&self, object: &NewObject, context: SigningContext<'_>) -> Result<Upload, ProviderError> {
        let fields = Some(self.signed([("public_id", &object.key)], context.now));
        Ok(Upload { url: format!("{}/auto/upload", self.api), method: Method::Post, fields })
    }

    async fn presign_download(&self, object: &StoredObject, _: SigningContext<'_>) -> Result<String, ProviderError> {
        let resource = self.existing(&object.key).await?;
        Ok(self.address(&object.key, &resource, &attachment(&resource, &object.filename)))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, ProviderError> {
        Ok(self.find(key).await?.map(|resource| resource.bytes))
    }

    async fn read_prefix(&self, key: &str, bytes: usize) -> Result<Vec<u8>, ProviderError> {
        let resource = self.existing(key).await?;
        let request = self.service.client().get(self.address(key, &resource, ""));
        let request = request.header(header::RANGE, format!("bytes=0-{}", bytes.saturating_sub(1)));
        // A cache without range support sends the whole object: read no more than requested.
        let limits = Limits { bytes: usize::MAX, ..LIMITS };
        let mut answer = self.service.stream("read", limits, request).await?;
        if !answer.status().is_success() {
            let answer = Answer { status: answer.status(), headers: answer.headers().clone(), body: Bytes::new() };
            return Err(ProviderError::of_answer(NAME, &answer, "the object cannot be fetched", false));
        }
        let mut start = Vec::new();
        while start.len() < bytes {
            let Some(piece) = answer.next().await? else { break };
            start.extend_from_slice(&piece);
        }
        start.truncate(bytes);
        Ok(start)
    }

    async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), ProviderError> {
        let mut fields = self.signed([("public_id", key)], Clock::System.now());
        fields.insert("file".to_owned(), format!("data:{content_type};base64,{}", STANDARD.encode(bytes)));
        let request = self.post(self.service.client(), "auto/upload", &fields);
        self.taken(&self.service.send("put", LIMITS, request).await?)?;
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        // Deletes resources of every kind under this name, and invalidates caches.
        for kind in kinds(key) {
            let fields = self.signed([("invalidate", "true"), ("public_id", key)], Clock::System.now());
            let request = |client: &Client| self.post(client, &format!("{kind}/destroy"), &fields);
            let answer = self.service.send_repeatable("delete", LIMITS, request).await?;
            if !matches!(self.taken(&answer)?["result"].as_str(), Some("ok" | "not found")) {
                return Err(ProviderError::Transient { message: format!("{NAME}: did not delete the object"), retry_after: None });
            }
        }
        Ok(())
    }
}
