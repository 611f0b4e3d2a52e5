//! Objects in a store, and the requests that clients send or fetch their bytes with.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// Validity of a presigned request.
pub const PRESIGN_TTL: TimeDelta = TimeDelta::hours(1);

/// An object about to be uploaded.
#[derive(Debug, Clone)]
pub struct NewObject {
    pub key: String,
    pub content_type: String,
    /// The largest number of bytes.
    pub size: u64,
}

/// A stored object, with the file name of its download.
#[derive(Debug, Clone)]
pub struct StoredObject {
    pub key: String,
    pub content_type: String,
    pub filename: String,
}

/// When a request is signed, and where clients reach the links of a store that has no server of its own.
#[derive(Debug, Clone, Copy)]
pub struct SigningContext<'m> {
    pub now: DateTime<Utc>,
    /// URL before the token of an upload, with a slash at its end.
    pub upload_base: &'m str,
    /// URL before the token of a download, with a slash at its end.
    pub download_base: &'m str,
}

/// The request by which a client uploads the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub url: String,
    pub method: Method,
    /// Members of the form that come before the file.
    pub fields: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = UploadMethod)]
pub enum Method {
    /// The raw bytes, with the declared `Content-Type`.
    Put,
    /// A form (`multipart/form-data`) with all fields and then `file`.
    Post,
}
