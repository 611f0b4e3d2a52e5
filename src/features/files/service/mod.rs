//! Business rules of files: upload request, confirmation, download and deletion.

pub mod local;
pub mod removal;

use serde_json::{Map, Value};

use super::model::{DownloadUrl, File, FileId, FileRead, FileStatus, RequestUpload, UploadUrl};
use super::{content, names, store};
use crate::app::App;
use crate::app::jobs::New;
use crate::features::quotas::Quota;
use crate::features::quotas::service::{Allowance, standing};
use crate::features::users::service::accounts as users;
use crate::platform::actor::CurrentUser;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::http::list::List;
use crate::platform::http::quota_headers::QuotaState;
use crate::platform::id::{PathId, UserId};
use crate::platform::usage::{Labels, Metric};
use crate::providers::storage::object::{NewObject, PRESIGN_TTL, SigningContext, StoredObject};
use crate::providers::storage::upstream;
use removal::RemoveObjects;

/// Maximum number of a user's pending files.
const MAX_PENDING_FILES: i64 = 100;
/// Maximum sum of the declared sizes of a user's pending files.
const MAX_PENDING_BYTES: i64 = 1 << 30;
/// Page size of the export.
const EXPORT_PAGE: i64 = 500;

/// Base URLs of links to the local folder.
struct Links {
    upload: String,
    download: String,
}

impl Links {
    fn below(base_url: &str) -> Self {
        let link = |name: &str| format!("{base_url}/api/v1/public/storage/{name}/");
        Self { upload: link("upload"), download: link("download") }
    }

    fn context(&self, app: &App) -> SigningContext<'_> {
        SigningContext { now: app.clock.now(), upload_base: &self.upload, download_base: &self.download }
    }
}

/// Checks what is wanted and signs the request that uploads the bytes. [`insert_pending`] inserts the row.
pub async fn prepare_upload(app: &App, user: &CurrentUser, wanted: RequestUpload, base_url: &str) -> Result<(File, UploadUrl)> {
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
        owner_id: user.id.clone(),
        key: names::key(&user.id, &filename)?,
        filename,
        content_type: Some(wanted.content_type.clone()),
        size: wanted.size,
        status: FileStatus::Pending,
        created_at: now,
        updated_at: now,
    };
    let object = NewObject { key: file.key.clone(), content_type: wanted.content_type, size };
    // Signed locally, without a request to the store.
    let links = Links::below(base_url);
    let presigned = app.storage.presign_upload(&object, links.context(app)).await.map_err(upstream)?;
    let upload = UploadUrl {
        file_id: file.id,
        upload_url: presigned.url,
        fields: presigned.fields,
        expires_in: PRESIGN_TTL.num_seconds(),
        method: presigned.method,
    };
    Ok((file, upload))
}

/// Inserts the row of a pending file; returns the state of the storage quota. 400 if too much of its owner's is pending already,
/// 403 if their plan allows no more.
pub async fn insert_pending(app: &App, tx: &mut Tx, file: &File) -> Result<Option<QuotaState>> {
    // Locks the user's row: the user's requests count one after the other.
    let allowance = standing(app, &mut *tx, &file.owner_id, Quota::StorageMb).await?;
    if allowance.is_none() {
        users::lock(app, &mut *tx, &file.owner_id).await?.ok_or_else(|| file.owner_id.not_found())?;
    }
    let held = store::held(&mut *tx, &file.owner_id, allowance.as_ref().is_some_and(Allowance::is_limited)).await?;
    if held.pending_files >= MAX_PENDING_FILES {
        return Err(Error::BadRequest(format!("{MAX_PENDING_FILES} uploads are pending: confirm or delete some first")));
    }
    if held.pending_bytes + file.size > MAX_PENDING_BYTES {
        let left = (MAX_PENDING_BYTES - held.pending_bytes).max(0);
        return Err(Error::BadRequest(format!(
            "Pending uploads may declare {MAX_PENDING_BYTES} bytes together, of which {left} are left: confirm or delete some first"
        )));
    }
    let quota = allowance.map(|allowance| allowance.admit(held.bytes, file.size)).transpose()?;
    store::insert(tx, file).await?;
    Ok(quota)
}

/// Checks that the bytes were uploaded as declared, and records their size.
pub async fn confirm(app: &App, user: &CurrentUser, id: &str) -> Result<File> {
    let id = FileId::parse(id).ok_or_else(|| Error::not_found(FileId::RESOURCE, id))?;
    let file = get(app, user, id).await?;
    let confirmed = || Error::BadRequest("The upload is confirmed already".to_owned());
    if file.status != FileStatus::Pending {
        return Err(confirmed());
    }
    // A vendor's store is checked before the transaction. The local folder is checked inside it: a concurrent upload waits for
    // the row's lock, so it cannot replace the verified bytes.
    let verified = if app.storage.local().is_none() { Some(verify_upload(app, &file).await?) } else { None };
    let mut tx = app.db.begin().await?;
    match store::lock(&app.db, &mut tx, &file.key).await? {
        Some(FileStatus::Pending) => {}
        Some(FileStatus::Uploaded) => return Err(confirmed()),
        None => return Err(id.not_found()),
    }
    let size = match verified {
        Some(size) => size,
        None => verify_upload(app, &file).await?,
    };
    let file = store::set_uploaded(&mut tx, &user.id, id, size, app.clock.now()).await?.ok_or_else(confirmed)?;
    tx.commit().await?;
    let (account, labels) = (user.account(), labels(&file));
    app.usage.record(account, Metric::StorageBytes, size.unsigned_abs(), &labels);
    app.usage.record(account, Metric::FileUploads, 1, &labels);
    Ok(file)
}

/// What a file counts as in usage.
fn labels(file: &File) -> Labels {
    [format!("file_type:{}", file.served_type())].into()
}

/// Bytes of the owner's confirmed files.
pub async fn stored_bytes(app: &App, owner: &UserId) -> Result<i64> {
    Ok(store::stored_bytes(&app.db, owner).await?)
}

/// Returns the size of an upload in bytes. 400 if it is missing, larger than declared, or not of the declared type; in the last
/// case the object is also removed.
async fn verify_upload(app: &App, file: &File) -> Result<i64> {
    let size = app.storage.size(&file.key).await.map_err(upstream)?;
    let size = size.ok_or_else(|| Error::BadRequest("The bytes have not been uploaded".to_owned()))?;
    let size = i64::try_from(size).map_err(anyhow::Error::new)?;
    if size > file.size {
        return Err(Error::BadRequest("The upload is larger than declared".to_owned()));
    }
    let declared = file.served_type();
    if content::can_tell(&declared) {
        let start = app.storage.read_prefix(&file.key, content::PREFIX).await.map_err(upstream)?;
        if !content::fits(&declared, &start) {
            app.storage.delete(&file.key).await.map_err(upstream)?;
            return Err(Error::BadRequest("The upload is not of the declared type".to_owned()));
        }
    }
    Ok(size)
}

pub async fn get(app: &App, user: &CurrentUser, id: FileId) -> Result<File> {
    store::by_id(&app.db, &user.id, id).await?.ok_or_else(|| id.not_found())
}

pub async fn download_url(app: &App, user: &CurrentUser, id: FileId, base_url: &str) -> Result<DownloadUrl> {
    let file = get(app, user, id).await?;
    if file.status != FileStatus::Uploaded {
        return Err(Error::BadRequest("The upload is not confirmed yet".to_owned()));
    }
    let labels = labels(&file);
    let object = StoredObject { content_type: file.served_type(), key: file.key, filename: file.filename.clone() };
    let links = Links::below(base_url);
    let download_url = app.storage.presign_download(&object, links.context(app)).await.map_err(upstream)?;
    app.usage.record(user.account(), Metric::FileDownloads, 1, &labels);
    Ok(DownloadUrl { download_url, filename: file.filename, expires_in: PRESIGN_TTL.num_seconds() })
}

/// Removes the object first and then the row, so that a failing store leaves the row for another attempt.
pub async fn delete(app: &App, user: &CurrentUser, id: FileId) -> Result<()> {
    let file = get(app, user, id).await?;
    app.storage.delete(&file.key).await.map_err(upstream)?;
    crate::transaction!(app.db, |tx| {
        if !store::delete(&mut *tx, &user.id, id).await? {
            return Err(id.not_found());
        }
        // Bytes can still arrive while the upload link is valid, so the object is removed again after it expires.
        let left = file.created_at + PRESIGN_TTL - app.clock.now();
        if left > chrono::TimeDelta::zero() {
            let new = New { delay: left + removal::MARGIN, ..New::default() };
            app.jobs.enqueue(tx, &RemoveObjects { keys: vec![file.key.clone()] }, new).await?;
        }
        Ok(())
    })?;
    if app.storage.local().is_some() {
        // Removes bytes that arrived between the first removal and the deletion of the row. Without the row, later uploads fail.
        app.storage.delete(&file.key).await.map_err(upstream)?;
    }
    Ok(())
}

/// The owner's files, newest first; only those of one status with `status`.
pub fn list(owner: &UserId, status: Option<FileStatus>) -> List<File> {
    store::list(owner, status)
}

/// Returns the metadata of every file of the owner for the data export, without the bytes.
pub async fn export(app: &App, owner: &UserId) -> Result<Map<String, Value>> {
    let mut files = Vec::new();
    store::list(owner, None).for_each(&app.db, EXPORT_PAGE, |file| files.push(FileRead::from(file))).await?;
    let files = serde_json::to_value(files).map_err(anyhow::Error::new)?;
    Ok([("files".to_owned(), files)].into_iter().collect())
}

/// Removes the rows, and enqueues the removal of the objects.
pub async fn erase(app: &App, tx: &mut Tx, owner: &UserId) -> Result<u64> {
    let keys = store::take_all(&mut *tx, owner).await?;
    let rows = keys.len() as u64;
    removal::enqueue(app, tx, keys).await?;
    Ok(rows)
}
