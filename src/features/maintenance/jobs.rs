//! The two functions that call the features' `cleanup` hooks.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::app::feature::{Removed, When};
use crate::app::jobs::{Fail, Job, Run};

/// Maximum rounds of one hook per run. Each round removes a bounded number of records; the next run continues.
const ROUNDS: u32 = 10_000;

/// Removes expired records and records past their retention period.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CleanupOldData {}

impl Job<App> for CleanupOldData {
    const NAME: &'static str = "cleanup_old_data";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        let removed = clean(&app, &[When::Old, When::Expired]).await?;
        #[expect(clippy::cast_precision_loss, reason = "for people: megabytes with two digits")]
        let freed = (removed.bytes as f64 / 1_048_576.0 * 100.0).round() / 100.0;
        Ok(json!({
            "executed_at": app.clock.now(),
            "deleted_records": removed.records,
            // Always 0: old records are deleted, not archived.
            "archived_records": 0,
            "freed_storage_mb": freed,
        }))
    }
}

/// Removes expired records.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SweepExpired {}

impl Job<App> for SweepExpired {
    const NAME: &'static str = "sweep_expired";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        let removed = clean(&app, &[When::Expired]).await?;
        Ok(json!({"deleted_records": removed.records}))
    }
}

/// Runs every hook. A failing hook does not stop the others, but the attempt fails.
async fn clean(app: &App, when: &[When]) -> Result<Removed, Fail> {
    let mut total = Removed::default();
    let mut failed = None;
    let all: Vec<_> = app.features.iter().flat_map(|feature| when.iter().map(move |when| (*feature, *when))).collect();
    for (feature, when) in all {
        for _ in 0..ROUNDS {
            match feature.cleanup(app, when).await {
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
