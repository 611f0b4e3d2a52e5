//! Plan quotas: what the plan of a user allows in each month, and at any time.
//!
//! Table `quota_counters`, no routes: other features count requests of monthly quotas with `service::reserve`, and ask before they
//! insert a row of a standing quota with `service::standing`. The plans are in `plans.rs`.

mod config;
pub mod model;
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
pub use plans::{Limits, Quota};

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
