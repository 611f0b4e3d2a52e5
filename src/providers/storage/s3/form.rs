//! Presigned POST form for exactly one object.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::platform::crypto;
use crate::providers::ProviderError;
use crate::providers::storage::bucket::{Bucket, Place, Uploads};
use crate::providers::storage::object::{Method, NewObject, PRESIGN_TTL, SigningContext, Upload};

pub(super) struct Form;

/// URL that forms are posted to.
fn address(place: &Place) -> String {
    let Place { bucket, region, endpoint, .. } = place;
    match endpoint {
        Some(endpoint) => format!("{}/{bucket}", endpoint.as_str().trim_end_matches('/')),
        // The wildcard certificate `*.s3…` does not cover bucket names with dots.
        None if bucket.contains('.') => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        None => format!("https://{bucket}.s3.{region}.amazonaws.com/"),
    }
}

/// Fields of a form that uploads exactly this object (Signature Version 4).
fn fields(place: &Place, object: &NewObject, context: SigningContext<'_>) -> BTreeMap<String, String> {
    let Place { bucket, region, access_key, secret_key, .. } = place;
    let (day, time) = (context.now.format("%Y%m%d").to_string(), context.now.format("%Y%m%dT%H%M%SZ").to_string());
    let scope = format!("{access_key}/{day}/{region}/s3/aws4_request");
    let algorithm = "AWS4-HMAC-SHA256";
    let policy = json!({
        "expiration": (context.now + PRESIGN_TTL).to_rfc3339_opts(SecondsFormat::Millis, true),
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
    let key =
        [day.as_str(), region, "s3", "aws4_request"].iter().fold(first, |key, part| crypto::hmac_sha256(&key, part.as_bytes()).to_vec());
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

#[async_trait]
impl Uploads for Form {
    async fn presign(bucket: &Bucket<Self>, object: &NewObject, context: SigningContext<'_>) -> Result<Upload, ProviderError> {
        Ok(Upload { url: address(&bucket.place), method: Method::Post, fields: Some(fields(&bucket.place, object, context)) })
    }
}
