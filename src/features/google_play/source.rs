//! Google Play as a source of the current state of subscriptions.

use async_trait::async_trait;

use super::state::State;
use super::{service, snapshot};
use crate::app::App;
use crate::features::subscriptions::Source;
use crate::features::subscriptions::model::{Snapshot, Subscription, Vendor};
use crate::platform::error::Result;

pub struct PlaySource;

#[async_trait]
impl Source for PlaySource {
    fn vendor(&self) -> Vendor {
        Vendor::Google
    }

    fn can_ask(&self, app: &App) -> bool {
        app.state::<State>().client().is_some()
    }

    async fn read(&self, app: &App, row: &Subscription) -> Result<Option<Snapshot>> {
        let reading = service::ask(app, &row.external_id, None).await?;
        Ok(reading.map(|reading| snapshot::of_purchase(&row.external_id, reading.purchase.as_ref(), Some(row), reading.asked)))
    }
}
