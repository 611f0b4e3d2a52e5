//! The document of an export: built by its job, kept encrypted in the object storage for a day, read by its user alone.

use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::app::feature::Removed;
use crate::app::jobs::{Fail, JobId};
use crate::app::news::Notice;
use crate::features::privacy::state::State;
use crate::features::privacy::store::{self, Export};
use crate::features::users::service::accounts as users;
use crate::platform::crypto::{self, KeyRing};
use crate::platform::error::Result;
use crate::platform::id::UserId;
use crate::providers::storage::upstream;

/// How long a document can be fetched.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// Documents kept for one user; a further one replaces the oldest.
const KEPT_PER_USER: i64 = 5;
/// Largest document, in bytes.
const LARGEST: usize = 32 << 20;
/// Bytes that encryption adds: nonce and tag.
const OVERHEAD: usize = 64;
/// Expired documents removed at once.
const BATCH: i64 = 100;
/// Time limit of building and storing a document.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Builds the user's document and stores it; `None` if there is no such user. A job that runs again returns the document of its
/// earlier run.
pub async fn store(app: &App, job: JobId, user: &UserId) -> Result<Option<Export>, Fail> {
    let key = object_key()?;
    let reserved = crate::transaction!(app.db, |tx| {
        // Waits for an erasure of the user, after which nothing may be stored any more.
        if users::lock(app, tx, user).await?.is_none() {
            return Ok(None);
        }
        let now = app.clock.now();
        Ok(Some(store::reserve(&mut *tx, job, user, &key, now, now + KEPT).await?))
    })?;
    let Some(export) = reserved else { return Ok(None) };
    if export.bytes.is_some() {
        return Ok(Some(export));
    }
    let bytes = {
        let _memory = app.state::<State>().memory().await?;
        let Some(document) = build(app, user).await? else { return Ok(None) };
        let (bytes, sealed) = blocking({
            let keys = keys(app);
            move || seal(&keys, job, &document)
        })
        .await?;
        if bytes > LARGEST {
            return Err(Fail::Dead(format!("the export is larger than {LARGEST} bytes")));
        }
        app.storage.put(&export.object_key, "application/octet-stream", sealed).await?;
        i64::try_from(bytes).map_err(anyhow::Error::new)?
    };
    if !set_stored(app, job, user, bytes).await? {
        app.storage.delete(&export.object_key).await?;
        return Ok(None);
    }
    if store::expire_surplus(&app.db, user, KEPT_PER_USER, app.clock.now()).await? > 0 {
        // The hourly sweep removes what is left.
        remove_expired(app).await.ok();
    }
    Ok(Some(Export { bytes: Some(bytes), ..export }))
}

/// Records that the document is stored, and tells its user; returns whether it is still wanted.
async fn set_stored(app: &App, job: JobId, user: &UserId, bytes: i64) -> Result<bool> {
    let notice = Notice {
        user: user.clone(),
        kind: "export_ready",
        title: "Your data export is ready".to_owned(),
        text: "It can be fetched for 24 hours.".to_owned(),
        data: json!({"job_id": job, "bytes": bytes}),
    };
    crate::transaction!(app.db, |tx| {
        let wanted = store::set_stored(&mut *tx, job, bytes).await?;
        if wanted {
            app.notify(tx, &notice).await?;
        }
        Ok(wanted)
    })
}

/// Collects the features' members of the document; `None` if there is no such user.
async fn build(app: &App, user: &UserId) -> Result<Option<Value>> {
    let mut document = Map::new();
    for feature in &app.features {
        document.extend(feature.export(app, user).await?);
    }
    if !document.contains_key("user") {
        return Ok(None);
    }
    document.insert("exported_at".to_owned(), json!(app.clock.now()));
    Ok(Some(Value::Object(document)))
}

/// Reads the document of an export; `None` if its object is gone.
pub async fn read(app: &App, export: Export) -> Result<Option<Vec<u8>>> {
    let _memory = app.state::<State>().memory().await?;
    let sealed = match app.storage.read_prefix(&export.object_key, LARGEST + OVERHEAD).await {
        Ok(sealed) => sealed,
        // Vendors report a missing object in different ways.
        Err(_) if app.storage.size(&export.object_key).await.is_ok_and(|size| size.is_none()) => return Ok(None),
        Err(error) => return Err(upstream(error)),
    };
    let (keys, job) = (keys(app), export.job_id);
    let opened = blocking(move || Ok(keys.open(job.as_bytes(), &sealed))).await?;
    if opened.is_none() {
        // As good as gone.
        tracing::warn!("a data export was written with a SECRET_KEY that is not listed any more");
    }
    Ok(opened)
}

/// Removes a bounded number of expired documents.
pub async fn remove_expired(app: &App) -> Result<Removed> {
    let mut removed = Removed::default();
    for export in store::expired(&app.db, app.clock.now(), BATCH).await? {
        // The object first: a store that fails leaves the row for another attempt.
        app.storage.delete(&export.object_key).await.map_err(upstream)?;
        removed.records += store::delete(&app.db, export.job_id).await?;
        removed.bytes += export.bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
    }
    Ok(removed)
}

/// Returns a key that tells nothing of the user and cannot be guessed.
fn object_key() -> Result<String> {
    Ok(format!("exports/{}/export.bin", crypto::hex(&crypto::random::<16>()?)))
}

fn keys(app: &App) -> KeyRing {
    app.keys.ring("data-export")
}

/// Returns the size of the document, and its encrypted bytes. Encrypted, because an object can be reached by other ways than this
/// service: the vendor's console, a public delivery address, a backup.
fn seal(keys: &KeyRing, job: JobId, document: &Value) -> anyhow::Result<(usize, Vec<u8>)> {
    let plain = serde_json::to_vec(document)?;
    Ok((plain.len(), keys.seal(job.as_bytes(), &plain)?))
}

/// Runs work on megabytes on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("the task was ended")?
}
