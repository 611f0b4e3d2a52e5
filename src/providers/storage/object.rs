//! Stored objects, and the presigned requests that upload or download them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// Validity of a presigned request.
pub const PRESIGN_TTL: TimeDelta = TimeDelta::hours(1);

/// An object about to be uploaded.
#[derive(Debug, Clone)]
pub struct NewObject {
    pub key: String,
    pub content_type: String,
    /// Maximum size in bytes.
    pub size: u64,
}

/// A stored object, with the file name of its download.
#[derive(Debug, Clone)]
pub struct StoredObject {
    pub key: String,
    pub content_type: String,
    pub filename: String,
}

/// Time of signing, and base URLs of the links for a store that the server itself serves.
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
    /// Form fields that must precede the file.
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
