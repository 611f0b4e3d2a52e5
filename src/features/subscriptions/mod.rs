//! Subscriptions at payment vendors and the plans that follow from them.
//!
//! Table `subscriptions`, routes `/app/billing/status` and `/admin/users/{user_id}/subscriptions`. Vendors belong to other
//! features: they apply what their events tell with `service::apply`, and implement [`Source`] where they can be asked. Functions
//! `sweep_subscriptions`, `reconcile_subscriptions` and `reconcile_customers`.

mod jobs;
pub mod model;
mod routes;
pub mod service;
mod source;
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
pub use routes::VENDOR_DEADLINE;
pub use source::Source;

pub struct Subscriptions;

#[async_trait]
impl Feature<App> for Subscriptions {
    fn name(&self) -> &'static str {
        "subscriptions"
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(state::State::new(setup));
        // An application without vendors has an empty list.
        setup.keep(setup.kept::<source::Sources>().unwrap_or_default());
        Ok(())
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("billing", "Subscriptions and payments")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new()
            .add(Policy::user().deadline(VENDOR_DEADLINE), routes!(routes::status))
            .add(Policy::admin(), routes!(routes::of_user))
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<jobs::SweepSubscriptions>();
        registry.add::<jobs::ReconcileSubscriptions>();
        registry.add::<jobs::ReconcileCustomers>();
    }

    fn schedules(&self, _: &Config, schedules: &mut Schedules<App>) {
        schedules.add::<jobs::SweepSubscriptions>("7 * * * *");
        schedules.add::<jobs::ReconcileSubscriptions>("15 3 * * *");
        schedules.add::<jobs::ReconcileCustomers>("45 3 * * *");
    }

    async fn erase(&self, _: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        service::erase(tx, user).await
    }
}
