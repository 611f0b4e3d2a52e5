//! The App Store as a source of the current state of subscriptions.

use async_trait::async_trait;

use super::service;
use super::state::State;
use super::statement::Statement;
use crate::app::App;
use crate::features::subscriptions::Source;
use crate::features::subscriptions::model::{Snapshot, Subscription, Vendor};
use crate::platform::error::Result;

pub struct AppStoreSource;

#[async_trait]
impl Source for AppStoreSource {
    fn vendor(&self) -> Vendor {
        Vendor::Apple
    }

    fn can_ask(&self, app: &App) -> bool {
        app.state::<State>().client().is_some()
    }

    async fn read(&self, app: &App, row: &Subscription) -> Result<Option<Snapshot>> {
        let Some(answer) = service::ask(app, &row.external_id).await? else { return Ok(None) };
        let statement = Statement::of_answer(answer.status, &answer.transaction, &answer.renewal, app.clock.now());
        if statement.is_none() {
            tracing::warn!(status = answer.status, "the App Store names a state of a subscription that this version does not know");
        }
        Ok(statement.map(|statement| statement.snapshot()))
    }
}
