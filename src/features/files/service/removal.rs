//! Removal of objects whose rows are deleted or whose uploads were never confirmed. Jobs retry until the store answers.

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
use crate::providers::storage::upstream;

/// Uploads not confirmed within this time are removed.
const ABANDONED: TimeDelta = TimeDelta::hours(24);
/// Maximum number of objects per job.
const AT_ONCE: usize = 100;
/// Tolerance for clock skew: a link may still be accepted for this long after it expires.
pub const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Removes objects by their keys.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveObjects {
    pub keys: Vec<String>,
}

impl Job<App> for RemoveObjects {
    const NAME: &'static str = "remove_objects";
    // High, because a store may be down for hours and the keys are stored nowhere else.
    const MAX_ATTEMPTS: i32 = 20;

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        for key in &self.keys {
            app.storage.delete(key).await?;
        }
        Ok(json!({"removed": self.keys.len()}))
    }
}

/// Enqueues the removal twice: now, and again after every upload link has expired.
pub(super) async fn enqueue(app: &App, tx: &mut Tx, keys: Vec<String>) -> Result<()> {
    for keys in keys.chunks(AT_ONCE) {
        for delay in [TimeDelta::zero(), PRESIGN_TTL + MARGIN] {
            let new = New { delay, ..New::default() };
            app.jobs.enqueue(&mut *tx, &RemoveObjects { keys: keys.to_vec() }, new).await?;
        }
    }
    Ok(())
}

/// Removes a bounded number of abandoned uploads: their rows and any uploaded bytes.
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
    // Also tried immediately, to count the freed bytes. A store that fails is not asked for every key: the job removes the rest.
    for key in &keys {
        if let Some(size) = app.storage.size(key).await.map_err(upstream)? {
            app.storage.delete(key).await.map_err(upstream)?;
            removed.bytes += size;
        }
    }
    if let (Some(local), true) = (app.storage.local(), keys.is_empty()) {
        removed.records += local.sweep().await.map_err(|error| Error::Internal(error.into()))?;
    }
    Ok(removed)
}
