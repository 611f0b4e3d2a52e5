//! Removal of objects whose rows are gone, or whose uploads were never confirmed: by jobs, which try until the store answers.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::store;
use crate::app::App;
use crate::app::feature::Removed;
use crate::app::jobs::{Fail, Job, New, Run};
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::providers::storage::object::PRESIGN_TTL;

/// An upload that was not confirmed for this long is abandoned.
const ABANDONED: TimeDelta = TimeDelta::hours(24);
/// Objects of one job at most.
const AT_ONCE: usize = 100;
/// Time after its end during which a link may still be used, because of a clock that is behind.
pub const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Removes objects by their keys.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveObjects {
    pub keys: Vec<String>,
}

impl Job<App> for RemoveObjects {
    const NAME: &'static str = "remove_objects";
    // A store may be down for a while, and no row knows of these objects any more.
    const MAX_ATTEMPTS: i32 = 20;

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        for key in &self.keys {
            app.storage.delete(key).await?;
        }
        Ok(json!({"removed": self.keys.len()}))
    }
}

/// Enqueues the removal, now and once more when no link is valid any longer.
pub(super) async fn enqueue(app: &App, tx: &mut Tx, keys: Vec<String>) -> Result<()> {
    for keys in keys.chunks(AT_ONCE) {
        for delay in [TimeDelta::zero(), PRESIGN_TTL + MARGIN] {
            let new = New { delay, ..New::default() };
            app.jobs.enqueue(&mut *tx, &RemoveObjects { keys: keys.to_vec() }, new).await?;
        }
    }
    Ok(())
}

/// Removes a bounded number of abandoned uploads, with what came of them.
pub async fn purge_pending(app: &App) -> Result<Removed> {
    let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
    let keys = crate::transaction!(app.db, |tx| {
        let keys = store::take_pending(&mut *tx, app.clock.now() - ABANDONED, limit).await?;
        if !keys.is_empty() {
            app.jobs.enqueue(tx, &RemoveObjects { keys: keys.clone() }, New::default()).await?;
        }
        Ok(keys)
    });
    let keys = keys?;
    let mut removed = Removed { records: keys.len() as u64, bytes: 0 };
    // At once where the store answers, so that the freed bytes are known; the job removes the others.
    for key in &keys {
        if let Ok(Some(size)) = app.storage.size(key).await
            && app.storage.delete(key).await.is_ok()
        {
            removed.bytes += size;
        }
    }
    if let (Some(local), true) = (app.storage.local(), keys.is_empty()) {
        removed.records += local.sweep().await.map_err(|error| Error::Internal(error.into()))?;
    }
    Ok(removed)
}
