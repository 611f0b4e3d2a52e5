//! Uploads to and downloads from the local folder.

use std::io::ErrorKind;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::Stream;

use super::store;
use crate::app::App;
use crate::features::files::model::{FileId, FileStatus};
use crate::platform::error::{Error, Result};
use crate::platform::id::PathId;
use crate::providers::storage::local_store::{Local, Permission, Refused, Use, failed};
use crate::providers::storage::media_type;
use crate::providers::storage::upstream;

const REFUSED: Error = Error::Forbidden("The link is invalid, or has expired");

/// Returns the permission of a signed link's token. 403 if the token is invalid or expired, 404 if files are not stored locally.
pub fn permission<'a>(app: &'a App, token: &str, wanted: Use) -> Result<(&'a Local, Permission)> {
    let local = app.storage.local().ok_or(Error::NoRoute)?;
    let permission = local.read_token(token, wanted, app.clock.now()).ok_or(REFUSED)?;
    Ok((local, permission))
}

/// Receives the bytes of an upload. They are moved to their final name only while the row is pending.
pub async fn receive<E>(
    app: &App,
    token: &str,
    content_type: Option<&str>,
    announced: Option<u64>,
    body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<()> {
    let (local, permission) = permission(app, token, Use::Upload)?;
    let too_large = || Error::TooLarge { limit: usize::try_from(permission.size).unwrap_or(usize::MAX) };
    waits(store::status(&app.db, &permission.key).await?)?;
    if content_type.is_some_and(|given| !media_type::is_same(given, &permission.content_type)) {
        return Err(Error::Forbidden("The link is for another Content-Type"));
    }
    if announced.is_some_and(|length| length > permission.size) {
        return Err(too_large());
    }
    let received = local.receive(&permission, body).await.map_err(|refused| match refused {
        Refused::Busy => Error::Conflict { message: "Another upload with this link is running", resource: FileId::RESOURCE },
        Refused::TooLarge => too_large(),
        Refused::Empty => Error::BadRequest("There are no bytes".to_owned()),
        Refused::TooSlow => Error::Unavailable { message: "The upload was too slow", retry_after: Some(1) },
        Refused::BrokenOff => Error::BadRequest("The upload was broken off".to_owned()),
        Refused::Store(error) => upstream(error),
    })?;
    let mut tx = app.db.begin().await?;
    waits(store::lock(&app.db, &mut tx, &permission.key).await?)?;
    let named = received.keep().await.map_err(upstream)?;
    tx.commit().await?;
    // After the commit, so that the sync to disk does not hold the row's lock.
    named.settle().await.map_err(upstream)
}

fn waits(status: Option<FileStatus>) -> Result<()> {
    match status {
        Some(FileStatus::Pending) => Ok(()),
        Some(FileStatus::Uploaded) => Err(REFUSED),
        None => Err(gone()),
    }
}

/// 404 for an object that does not exist any more. Contains no id, because the link has none.
pub fn gone() -> Error {
    Error::not_found(FileId::RESOURCE, "")
}

/// Maps a failed read of a download to a response: 404 if the file is gone, else a storage error.
pub fn unreadable(error: &std::io::Error) -> Error {
    if error.kind() == ErrorKind::NotFound { gone() } else { upstream(failed("read", error)) }
}

/// Returns the path of the file and the permission that describes how to serve it.
pub fn served(app: &App, token: &str) -> Result<(PathBuf, Permission)> {
    let (local, permission) = permission(app, token, Use::Download)?;
    Ok((local.path(&permission.key).map_err(upstream)?, permission))
}
