//! Metered billing: reports what customers use to Stripe as Billing Meter events, each unit once.
//!
//! Table `usage_reports`, function `report_usage`, settings `USAGE_STRIPE_…`. What is used is counted by the feature `usage`. Its
//! rows with `reported_to_stripe = FALSE` are looked at: who adds to a quantity resets that mark.

mod config;
mod diagnosis;
mod doubt;
mod freeze;
mod jobs;
mod model;
mod round;
mod state;
mod store;

use async_trait::async_trait;
use chrono::TimeDelta;
use http::Extensions;

use crate::app::App;
use crate::app::config::Config;
use crate::app::feature::{Feature, Finding, Removed, Setup, When};
use crate::app::jobs::{Registry, Schedules};
use crate::platform::config::{Env, Section};
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::id::UserId;
use crate::providers::payments::stripe::Config as StripeConfig;
use config::Settings;

/// Time that reports are kept after their day: as long as an invoice may be asked about. Longer than days are reported.
const KEPT: TimeDelta = TimeDelta::days(120);

pub struct MeteredBilling;

#[async_trait]
impl Feature<App> for MeteredBilling {
    fn name(&self) -> &'static str {
        "metered_billing"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(Settings::read(env));
    }

    fn check_config(&self, config: &Config, env: &mut Env) {
        if let Some(settings) = config.feature::<Settings>() {
            settings.check(has_key(config), env);
        }
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(state::State::new(setup));
        Ok(())
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<jobs::ReportUsage>();
    }

    fn schedules(&self, config: &Config, schedules: &mut Schedules<App>) {
        if let Some(settings) = config.feature::<Settings>().filter(|settings| settings.reports(has_key(config))) {
            schedules.add_every::<jobs::ReportUsage>(settings.interval);
        }
    }

    async fn erase(&self, _: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        Ok(store::erase(tx, user).await?)
    }

    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        match when {
            When::Old => Ok(Removed::records(store::sweep(&app.db, app.clock.now() - KEPT).await?)),
            When::Expired => Ok(Removed::default()),
        }
    }

    async fn diagnose(&self, app: &App) -> Vec<Finding> {
        diagnosis::diagnose(app).await
    }
}

fn has_key(config: &Config) -> bool {
    config.feature::<StripeConfig>().is_some_and(|stripe| stripe.secret_key.is_some())
}
