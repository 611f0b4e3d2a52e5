//! The log of received webhooks: every sender's events are verified, recorded, applied once and tried again after failures.
//!
//! Table `webhook_events`, routes `/admin/webhooks…`. Senders belong to other features: each implements [`Sender`], is added in its
//! feature's `setup`, and has one route with [`POLICY`]. Functions `retry_webhook` and `rescue_webhooks`.

mod jobs;
mod masking;
mod model;
mod routes;
mod sender;
pub mod service;
mod state;
mod store;

use async_trait::async_trait;
use utoipa_axum::routes;

use crate::app::App;
use crate::app::config::Config;
use crate::app::feature::{Feature, Setup};
use crate::app::jobs::{Registry, Schedules};
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::{Endpoints, Policy};
use crate::platform::id::UserId;
pub use model::Received;
pub use routes::POLICY;
pub use sender::{Answer, Current, Delivery, Event, Opened, Sender, Step};

pub struct Webhooks;

#[async_trait]
impl Feature<App> for Webhooks {
    fn name(&self) -> &'static str {
        "webhooks"
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(state::State::new(setup));
        // An application without senders has an empty list.
        setup.keep(setup.kept::<state::Senders>().unwrap_or_default());
        Ok(())
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("webhooks", "Events of vendors")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new()
            .add(Policy::admin(), routes!(routes::list))
            .add(Policy::admin(), routes!(routes::get))
            .add(Policy::admin(), routes!(routes::replay))
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<service::RetryWebhook>();
        registry.add::<jobs::RescueWebhooks>();
    }

    fn schedules(&self, _: &Config, schedules: &mut Schedules<App>) {
        schedules.add::<jobs::RescueWebhooks>("*/10 * * * *");
    }

    async fn erase(&self, _: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        service::erase(tx, user).await
    }
}
