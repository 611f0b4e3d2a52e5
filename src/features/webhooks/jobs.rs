//! Jobs that handle stored events again: senders stop repeating after some days.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::EventId;
use super::service::{self, Again};
use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};

/// Handles one event again. Attempts follow after 1, 2, 4 and 8 minutes.
#[derive(Debug, Serialize, Deserialize)]
pub struct RetryWebhook {
    pub event_id: EventId,
}

impl Job<App> for RetryWebhook {
    const NAME: &'static str = "retry_webhook";
    const MAX_ATTEMPTS: i32 = 5;

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let pause = Duration::from_secs(60 << run.attempt.clamp(1, 5).unsigned_abs());
        match service::again(&app, self.event_id).await {
            Ok(Again::Handled) => Ok(json!({"status": "processed"})),
            Ok(Again::Processed) => Ok(json!({"status": "already_processed"})),
            Ok(Again::NoSender) => Err(Fail::Dead("no sender of this name is installed".to_owned())),
            Ok(Again::Failed(error)) => Err(Fail::RetryAfter(error.to_string(), pause)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Finds events whose process ended while it handled them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RescueWebhooks {}

impl Job<App> for RescueWebhooks {
    const NAME: &'static str = "rescue_webhooks";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        Ok(json!({"enqueued": service::rescue_stale(&app).await?}))
    }
}
