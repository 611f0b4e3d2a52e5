//! Jobs that read purchases which could not be read when they were told of, and that acknowledge purchases.

use std::time::Duration;

use serde_json::{Value, json};

use super::model::{AcknowledgeGooglePurchase, ReadGooglePurchase};
use super::service;
use super::state::State;
use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};
use crate::platform::error::Error;
use crate::providers::ProviderError;

/// Attempts after which a purchase that Google does not know is given up, five hours later.
const UNKNOWN: i32 = 10;

/// Attempts follow after 1, 2, 4, … minutes, then each hour.
fn pause(attempt: i32) -> Duration {
    Duration::from_secs((60 << attempt.clamp(1, 7).unsigned_abs().saturating_sub(1)).min(3600))
}

impl Job<App> for ReadGooglePurchase {
    const NAME: &'static str = "read_google_purchase";
    /// Four days; after that the nightly comparison reads what is still running.
    const MAX_ATTEMPTS: i32 = 100;
    const SECRETS: &'static [&'static str] = &["purchase_token"];

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let reading = match service::ask(&app, &self.purchase_token, None).await {
            Ok(Some(reading)) => reading,
            Ok(None) if run.attempt >= UNKNOWN => return Ok(json!({"read": false})),
            Ok(None) => return Err(Fail::RetryAfter("Google Play does not know the purchase yet".to_owned(), pause(run.attempt))),
            Err(Error::Upstream { cause, .. }) => return Err(Fail::RetryAfter(cause, pause(run.attempt))),
            Err(error) => return Err(error.into()),
        };
        crate::transaction!(app.db, |tx| { service::apply_reading(&app, tx, &self.purchase_token, &reading).await })?;
        Ok(json!({"read": true}))
    }
}

impl Job<App> for AcknowledgeGooglePurchase {
    const NAME: &'static str = "acknowledge_google_purchase";
    /// Three days.
    const MAX_ATTEMPTS: i32 = 78;
    const SECRETS: &'static [&'static str] = &["purchase_token"];

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let state = app.state::<State>();
        let Some(play) = state.client() else { return Err(ProviderError::NotConfigured("Google Play").into()) };
        match play.acknowledge(&self.product, &self.purchase_token).await {
            Ok(acknowledged) => Ok(json!({"acknowledged": acknowledged})),
            Err(error) => Err(Fail::RetryAfter(error.to_string(), pause(run.attempt))),
        }
    }
}
