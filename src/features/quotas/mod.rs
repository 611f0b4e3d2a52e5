//! Plan quotas: what the plan of a user allows in each month, counted when it is used.
//!
//! Table `quota_counters`, no routes: other features reserve with `service::reserve`. The plans are in `plans.rs`.

mod config;
mod model;
mod plans;
pub mod service;
mod store;

use async_trait::async_trait;
use http::Extensions;

use crate::app::App;
use crate::app::feature::{Feature, Removed, When};
use crate::platform::config::Env;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::id::UserId;
use config::Settings;
pub use plans::Quota;

pub struct Quotas;

#[async_trait]
impl Feature<App> for Quotas {
    fn name(&self) -> &'static str {
        "quotas"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(Settings::read(env));
    }

    async fn erase(&self, _: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        Ok(store::erase(tx, user).await?)
    }

    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        match when {
            When::Expired => service::sweep(app).await,
            When::Old => Ok(Removed::default()),
        }
    }
}
