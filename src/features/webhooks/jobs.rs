//! The job that looks for lost events. The one that handles an event again is in `service`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::service;
use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};

/// Finds events whose process ended while it handled them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RescueWebhooks {}

impl Job<App> for RescueWebhooks {
    const NAME: &'static str = "rescue_webhooks";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        Ok(json!({"enqueued": service::rescue_stale(&app).await?}))
    }
}
