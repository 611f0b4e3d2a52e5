//! The file row, its API view, and the request and response bodies of uploads and downloads.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::platform::http::list::{Listed, SortKey};
use crate::platform::id::{Id, Resource, UserId};
use crate::providers::storage::object::Method;

pub type FileId = Id<File>;

impl Resource for File {
    const NAME: &'static str = "File";
}

/// Whether the bytes were uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum FileStatus {
    Pending,
    Uploaded,
}

impl FileStatus {
    /// Returns the value stored in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Uploaded => "uploaded",
        }
    }
}

/// A row of `files`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct File {
    pub id: FileId,
    pub owner_id: UserId,
    /// Key of the object in the storage; never shown to clients.
    pub key: String,
    pub filename: String,
    pub content_type: Option<String>,
    /// Bytes: declared size while pending, actual size once uploaded.
    pub size: i64,
    pub status: FileStatus,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Listed for File {
    fn sort_key(&self) -> SortKey {
        SortKey::Time(self.created_at)
    }

    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl File {
    /// Returns the `Content-Type` that the file is served with.
    pub fn served_type(&self) -> String {
        self.content_type.clone().unwrap_or_else(|| "application/octet-stream".to_owned())
    }
}

/// A file as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "filename": "moon.jpg", "content_type": "image/jpeg", "size": 48_213, "status": "uploaded",
    "created_at": "2026-01-10T12:00:00.123456Z", "updated_at": "2026-01-10T12:00:00.123456Z"
}))]
pub struct FileRead {
    #[schema(value_type = String, format = "uuid")]
    pub id: FileId,
    pub filename: String,
    pub content_type: Option<String>,
    /// Bytes: as declared while it is pending, then as they are.
    pub size: i64,
    pub status: FileStatus,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<File> for FileRead {
    fn from(file: File) -> Self {
        Self {
            id: file.id,
            filename: file.filename,
            content_type: file.content_type,
            size: file.size,
            status: file.status,
            created_at: file.created_at,
            updated_at: file.updated_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"filename": "moon.jpg", "content_type": "image/jpeg", "size": 48_213}))]
pub struct RequestUpload {
    /// Only the last segment of a path is kept.
    #[schema(min_length = 1, max_length = 255)]
    pub filename: String,
    #[schema(min_length = 1, max_length = 100)]
    pub content_type: String,
    /// Bytes that will be sent at most.
    #[schema(minimum = 1, maximum = 104_857_600)]
    pub size: i64,
}

/// How to send the bytes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "file_id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "upload_url": "http://localhost:8000/api/v1/public/storage/upload/eyJtIjoiUFVUIn0.c2ln",
    "fields": null, "expires_in": 3600, "method": "PUT"
}))]
pub struct UploadUrl {
    #[schema(value_type = String, format = "uuid")]
    pub file_id: FileId,
    pub upload_url: String,
    /// With `POST`: members of the form, to be sent before `file`.
    pub fields: Option<BTreeMap<String, String>>,
    /// Seconds.
    pub expires_in: i64,
    pub method: Method,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"file_id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d"}))]
pub struct ConfirmUpload {
    pub file_id: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "download_url": "http://localhost:8000/api/v1/public/storage/download/eyJtIjoiR0VUIn0.c2ln", "filename": "moon.jpg", "expires_in": 3600
}))]
pub struct DownloadUrl {
    pub download_url: String,
    pub filename: String,
    /// Seconds.
    pub expires_in: i64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FileFilter {
    /// Only files whose bytes are awaited, or have come.
    #[param(required = false, value_type = FileStatus, inline)]
    pub status: Option<FileStatus>,
}
