//! The store itself, and the form that it takes for one object alone.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::platform::crypto;
use crate::providers::ProviderError;
use crate::providers::storage::bucket::{Bucket, Place};
use crate::providers::storage::{KeptObject, Method, Moment, NewObject, PERMISSION, StorageProvider, Upload};

pub(super) struct S3(pub Bucket);

impl S3 {
    /// The members of a form that the store takes for this object alone, by Signature Version 4.
    fn form(&self, object: &NewObject, at: Moment<'_>) -> BTreeMap<String, String> {
        let Place { bucket, region, access_key, secret_key, .. } = &self.0.place;
        let (day, time) = (at.now.format("%Y%m%d").to_string(), at.now.format("%Y%m%dT%H%M%SZ").to_string());
        let scope = format!("{access_key}/{day}/{region}/s3/aws4_request");
        let algorithm = "AWS4-HMAC-SHA256";
        let policy = json!({
            "expiration": (at.now + PERMISSION).to_rfc3339_opts(SecondsFormat::Millis, true),
            "conditions": [
                {"bucket": bucket},
                {"key": object.key},
                ["eq", "$Content-Type", object.content_type],
                ["content-length-range", 1, object.size],
                {"x-amz-algorithm": algorithm},
                {"x-amz-credential": scope},
                {"x-amz-date": time},
            ],
        });
        let policy = STANDARD.encode(policy.to_string());
        let first = format!("AWS4{}", secret_key.expose_secret()).into_bytes();
        let key = [day.as_str(), region, "s3", "aws4_request"]
            .iter()
            .fold(first, |key, part| crypto::hmac_sha256(&key, part.as_bytes()).to_vec());
        let signature = crypto::hex(&crypto::hmac_sha256(&key, policy.as_bytes()));
        [
            ("key", object.key.as_str()),
            ("Content-Type", &object.content_type),
            ("x-amz-algorithm", algorithm),
            ("x-amz-credential", &scope),
            ("x-amz-date", &time),
            ("policy", &policy),
            ("x-amz-signature", &signature),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

#[async_trait]
impl StorageProvider for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    async fn permit_upload(&self, object: &NewObject, at: Moment<'_>) -> Result<Upload, ProviderError> {
        Ok(Upload { url: self.0.address(), method: Method::Post, fields: Some(self.form(object, at)) })
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
