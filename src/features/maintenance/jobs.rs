//! The two functions that loop over the features' `cleanup` hooks.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::app::feature::{Removed, When};
use crate::app::jobs::{Fail, Job, Run};

/// Rounds of one clean-up in one run, each of which removes a bounded number; what is left waits for the next run.
const ROUNDS: u32 = 10_000;

/// Removes what has been kept long enough, and all that has expired.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CleanupOldData {}

impl Job for CleanupOldData {
    const NAME: &'static str = "cleanup_old_data";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        let removed = clean(&app, &[When::Old, When::Expired]).await?;
        #[expect(clippy::cast_precision_loss, reason = "for people: megabytes with two digits")]
        let freed = (removed.bytes as f64 / 1_048_576.0 * 100.0).round() / 100.0;
        Ok(json!({
            "executed_at": app.clock.now(),
            "deleted_records": removed.records,
            // Nothing is moved elsewhere: what is old is deleted.
            "archived_records": 0,
            "freed_storage_mb": freed,
        }))
    }
}

/// Removes what has expired.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SweepExpired {}

impl Job for SweepExpired {
    const NAME: &'static str = "sweep_expired";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        let removed = clean(&app, &[When::Expired]).await?;
        Ok(json!({"deleted_records": removed.records}))
    }
}

/// One that fails does not keep the others from theirs; the attempt fails all the same.
async fn clean(app: &App, when: &[When]) -> Result<Removed, Fail> {
    let mut total = Removed::default();
    let mut failed = None;
    for cleanup in app.features.iter().flat_map(|feature| feature.cleanup).filter(|cleanup| when.contains(&cleanup.when)) {
        for _ in 0..ROUNDS {
            match (cleanup.run)(app.clone()).await {
                Ok(Removed { records: 0, .. }) => break,
                Ok(removed) => {
                    total.records += removed.records;
                    total.bytes += removed.bytes;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
    }
    failed.map_or(Ok(total), |error| Err(error.into()))
}
