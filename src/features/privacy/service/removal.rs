//! Removal of the documents of an erased user.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document;
use crate::app::App;
use crate::app::jobs::{Fail, Job, New, Run};
use crate::features::privacy::store;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::id::UserId;

/// Tolerance until a job that exceeds its time limit has ended.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Removes the documents of an erased user.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveExports {
    pub keys: Vec<String>,
}

impl Job<App> for RemoveExports {
    const NAME: &'static str = "remove_exports";
    // High, because a store may be down for hours and the keys are stored nowhere else.
    const MAX_ATTEMPTS: i32 = 20;

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        for key in &self.keys {
            app.storage.delete(key).await?;
        }
        Ok(json!({"removed": self.keys.len()}))
    }
}

/// Removes the user's rows, and enqueues the removal of the documents.
pub async fn erase(app: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
    let keys = store::take_all(&mut *tx, user).await?;
    let rows = keys.len() as u64;
    if !keys.is_empty() {
        // Twice, because an export that runs at this moment may still write its document.
        let ended = TimeDelta::from_std(document::LIMIT).unwrap_or(MARGIN) + MARGIN;
        for delay in [TimeDelta::zero(), ended] {
            app.jobs.enqueue(&mut *tx, &RemoveExports { keys: keys.clone() }, New { delay, ..New::default() }).await?;
        }
    }
    Ok(rows)
}
