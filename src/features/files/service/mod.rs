//! Rules about files: asking to upload, confirming that the bytes have come, fetching, deleting.

pub mod local;
pub mod removal;

use serde_json::{Map, Value};

use super::model::{DownloadUrl, File, FileId, FileRead, RequestUpload, Status, UploadUrl};
use super::{content, names, store};
use crate::app::App;
use crate::app::jobs::New;
use crate::features::users::model::UserId;
use crate::platform::db::{On, Tx};
use crate::platform::error::{Error, Result};
use crate::platform::http::cursor::Position;
use crate::platform::http::list::{end_of_time, time_of};
use crate::providers::ProviderError;
use crate::providers::storage::{KeptObject, Moment, NewObject, PERMISSION};
use removal::RemoveObjects;

/// Files read at once for an export.
const EXPORT_PAGE: i64 = 500;

/// What a client is told of a store that fails; the log is told all.
pub(super) fn upstream(error: ProviderError) -> Error {
    let (retry_after, cause) = match error {
        ProviderError::NotConfigured(_) => return Error::Unavailable { message: "The file storage is not configured", retry_after: None },
        ProviderError::Transient { retry_after, message } => (Some(retry_after.map_or(1, |after| after.as_secs().max(1))), message),
        ProviderError::Rejected(message) => (None, message),
    };
    Error::Upstream { message: "The file storage failed", service: "storage", retry_after, cause }
}

fn not_found(id: &str) -> Error {
    Error::not_found("File", id)
}

/// Makes the row and the permission to send its bytes; `on` is the transaction of the request's idempotency key, if it has one.
pub async fn request_upload(app: &App, on: On<'_>, owner: &UserId, wanted: RequestUpload, base_url: &str) -> Result<UploadUrl> {
    let storage = &app.config.storage;
    let filename = names::clean(&wanted.filename)?;
    if wanted.content_type.contains(char::is_control) || http::HeaderValue::from_str(&wanted.content_type).is_err() {
        return Err(Error::invalid("content_type", "format", "Must be a media type"));
    }
    if !storage.allows(&wanted.content_type) {
        return Err(Error::invalid("content_type", "not_allowed", "Files of this type are not accepted"));
    }
    let size = u64::try_from(wanted.size).unwrap_or(0);
    if size > storage.max_bytes {
        return Err(Error::invalid("size", "too_large", format!("Must be at most {}", storage.max_bytes)));
    }
    let now = app.clock.now();
    let file = File {
        id: FileId::new(),
        owner_id: owner.clone(),
        key: names::key(owner, &filename)?,
        filename,
        content_type: Some(wanted.content_type.clone()),
        size: wanted.size,
        status: Status::Pending,
        created_at: now,
        updated_at: now,
    };
    let object = NewObject { key: file.key.clone(), content_type: wanted.content_type, size };
    // Signed here, without asking the store anything.
    let upload = app.storage.permit_upload(&object, Moment { now, base_url }).await.map_err(upstream)?;
    store::insert(on, &file).await?;
    Ok(UploadUrl {
        file_id: file.id,
        upload_url: upload.url,
        fields: upload.fields,
        expires_in: PERMISSION.num_seconds(),
        method: upload.method,
    })
}

/// Looks whether the bytes have come and are what was declared, and notes how many they are.
pub async fn confirm(app: &App, owner: &UserId, id: &str) -> Result<File> {
    let known = FileId::parse(id).ok_or_else(|| not_found(id))?;
    let file = store::by_id(&app.db, owner, known).await?.ok_or_else(|| not_found(id))?;
    let confirmed = || Error::BadRequest("The upload is confirmed already".to_owned());
    if file.status != Status::Pending {
        return Err(confirmed());
    }
    // A vendor is asked before the transaction. Our own folder is looked at inside of it: a later upload waits for the row, so
    // that what is looked at is what stays.
    let asked = if app.storage.local().is_none() { Some(look_at(app, &file).await?) } else { None };
    let mut tx = app.db.begin().await?;
    match store::lock(&app.db, &mut tx, &file.key).await? {
        Some(Status::Pending) => {}
        Some(Status::Uploaded) => return Err(confirmed()),
        None => return Err(not_found(id)),
    }
    let size = match asked {
        Some(size) => size,
        None => look_at(app, &file).await?,
    };
    let file = store::set_uploaded(&mut tx, owner, known, size, app.clock.now()).await?.ok_or_else(confirmed)?;
    tx.commit().await?;
    Ok(file)
}

/// The true size of an upload. One that breaks its word is refused; what it is not, is removed.
async fn look_at(app: &App, file: &File) -> Result<i64> {
    let size = app.storage.size(&file.key).await.map_err(upstream)?;
    let size = size.ok_or_else(|| Error::BadRequest("The bytes have not been uploaded".to_owned()))?;
    let size = i64::try_from(size).map_err(anyhow::Error::new)?;
    if size > file.size {
        return Err(Error::BadRequest("The upload is larger than declared".to_owned()));
    }
    let declared = file.served_type();
    if content::can_tell(&declared) {
        let start = app.storage.start(&file.key, content::LOOKED_AT).await.map_err(upstream)?;
        if !content::fits(&declared, &start) {
            app.storage.delete(&file.key).await.map_err(upstream)?;
            return Err(Error::BadRequest("The upload is not of the declared type".to_owned()));
        }
    }
    Ok(size)
}

pub async fn get(app: &App, owner: &UserId, id: &str) -> Result<File> {
    match FileId::parse(id) {
        Some(known) => store::by_id(&app.db, owner, known).await?.ok_or_else(|| not_found(id)),
        None => Err(not_found(id)),
    }
}

pub async fn download_url(app: &App, owner: &UserId, id: &str, base_url: &str) -> Result<DownloadUrl> {
    let file = get(app, owner, id).await?;
    if file.status != Status::Uploaded {
        return Err(Error::BadRequest("The upload is not confirmed yet".to_owned()));
    }
    let object = KeptObject { content_type: file.served_type(), key: file.key, filename: file.filename.clone() };
    let at = Moment { now: app.clock.now(), base_url };
    let download_url = app.storage.permit_download(&object, at).await.map_err(upstream)?;
    Ok(DownloadUrl { download_url, filename: file.filename, expires_in: PERMISSION.num_seconds() })
}

/// Removes the object and then the row, so that a store that fails loses nothing.
pub async fn delete(app: &App, owner: &UserId, id: &str) -> Result<()> {
    let file = get(app, owner, id).await?;
    app.storage.delete(&file.key).await.map_err(upstream)?;
    let mut tx = app.db.begin().await?;
    if !store::delete(&mut tx, owner, file.id).await? {
        return Err(not_found(id));
    }
    // While its permission holds, the bytes may still come, or may have come just now.
    let left = file.created_at + PERMISSION - app.clock.now();
    if left > chrono::TimeDelta::zero() {
        let new = New { delay: left + removal::MARGIN, ..New::default() };
        app.jobs.enqueue(&mut tx, &RemoveObjects { keys: vec![file.key.clone()] }, new).await?;
    }
    tx.commit().await?;
    if app.storage.local().is_some() {
        // What was written between our first look and the end of the row; nothing can be written any more.
        app.storage.delete(&file.key).await.map_err(upstream)?;
    }
    Ok(())
}

pub async fn page(app: &App, owner: &UserId, status: Option<Status>, limit: i64, skip: i64) -> Result<(Vec<File>, i64)> {
    Ok(store::page(&app.db, owner, status, limit, skip).await?)
}

/// Newest first after a position: one row more than `limit`, if there is one.
pub async fn page_after(app: &App, owner: &UserId, status: Option<Status>, position: Option<Position>, limit: i64) -> Result<Vec<File>> {
    let (created_at, id) = match &position {
        Some(position) => (time_of(position)?, position.id.as_str()),
        None => (end_of_time(), ""),
    };
    Ok(store::page_after(&app.db, owner, status, created_at, id, limit + 1).await?)
}

/// What is known of every file of the owner, for their copy of it. The bytes are fetched one by one.
pub async fn export(app: &App, owner: &str) -> Result<Map<String, Value>> {
    let Some(owner) = UserId::parse(owner) else { return Ok(Map::new()) };
    let (mut files, mut created_at, mut id) = (Vec::new(), end_of_time(), String::new());
    loop {
        let page = store::page_after(&app.db, &owner, None, created_at, &id, EXPORT_PAGE).await?;
        let Some(last) = page.last() else { break };
        (created_at, id) = (last.created_at, last.id.to_string());
        for file in page {
            files.push(serde_json::to_value(FileRead::from(file)).map_err(anyhow::Error::new)?);
        }
    }
    Ok([("files".to_owned(), Value::Array(files))].into_iter().collect())
}

/// Removes the rows, and promises to remove the objects.
pub async fn erase(app: &App, tx: &mut Tx, owner: &str) -> Result<u64> {
    let keys = store::take_all(&mut *tx, owner).await?;
    let rows = keys.len() as u64;
    removal::promise(app, tx, keys).await?;
    Ok(rows)
}
