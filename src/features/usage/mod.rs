//! Usage: what each user uses, counted for each day, for the users themselves, for administrators and for bills.
//!
//! Tables `usage_records`, `usage_batches`, `usage_warnings`. Routes `/app/usage/…`, `/admin/usage/…`. What is counted is recorded
//! by `platform::usage`, wherever it happens.

mod config;

use async_trait::async_trait;
use http::Extensions;

use crate::app::App;
use crate::app::feature::Feature;
use crate::platform::config::{Env, Section};
use config::Settings;

pub struct Usage;

#[async_trait]
impl Feature<App> for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(Settings::read(env));
    }
}
