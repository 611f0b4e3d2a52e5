//! Usage: what each user uses, counted for each day, for the users themselves, for administrators and for bills.
//!
//! Tables `usage_records`, `usage_batches`, `usage_warnings`. Routes `/app/usage/…`, `/admin/usage/…`. What is counted is recorded
//! by `platform::usage`, wherever it happens. Function `warn_of_usage`.

mod config;
mod counters;
mod jobs;
pub mod model;
mod routes;
pub mod service;
mod state;
mod store;

use async_trait::async_trait;
use http::Extensions;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::feature::{Feature, Removed, Setup, When};
use crate::app::jobs::Registry;
use crate::platform::config::{Env, Section};
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::Endpoints;
use crate::platform::id::UserId;
use config::Settings;
use state::State;

pub struct Usage;

#[async_trait]
impl Feature<App> for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(Settings::read(env));
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        let enabled = setup.config.feature::<Settings>().is_some_and(|settings| settings.enabled);
        setup.keep(State::new(setup, enabled));
        Ok(())
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("usage", "Own usage")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        routes::endpoints()
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<jobs::WarnOfUsage>();
    }

    async fn run(&self, app: &App, stop: CancellationToken) {
        service::flush::run(app, stop).await;
    }

    async fn erase(&self, _: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        Ok(store::erase(tx, user).await?)
    }

    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        service::sweep(app, when).await
    }
}
