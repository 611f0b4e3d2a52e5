//! Billing with Stripe: checkout, portal, invoices, cancellation and resumption, and Stripe's events.
//!
//! Table `stripe_customers`, routes `/app/billing/…` and `/public/webhooks/stripe`. What users have bought is kept by the feature
//! `subscriptions`; the calls to Stripe are in `providers::payments::stripe`.

mod config;
mod diagnosis;
mod model;
mod redirects;
mod routes;
pub mod service;
mod source;
mod state;
mod store;
mod stripe_events;
mod subscription;

use async_trait::async_trait;
use http::Extensions;

use crate::app::App;
use crate::app::feature::{Feature, Finding, Setup};
use crate::features::subscriptions::service as subscriptions;
use crate::features::webhooks::service as webhooks;
use crate::platform::config::{Env, Section};
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::Endpoints;
use crate::platform::id::UserId;
use crate::providers::payments::stripe::Config;
use config::Settings;
use state::State;

pub struct Billing;

#[async_trait]
impl Feature<App> for Billing {
    fn name(&self) -> &'static str {
        "billing"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(Config::read(env));
        sections.insert(Settings::read(env));
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(State::new(setup)?);
        webhooks::add(setup, &stripe_events::StripeEvents);
        subscriptions::add_source(setup, &source::StripeSource);
        Ok(())
    }

    fn endpoints(&self) -> Endpoints<App> {
        routes::endpoints()
    }

    async fn erase(&self, _: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        Ok(store::erase(tx, user).await?)
    }

    async fn diagnose(&self, app: &App) -> Vec<Finding> {
        diagnosis::diagnose(app).await
    }

    fn banner(&self, app: &App) -> Vec<(&'static str, String)> {
        vec![("Billing", diagnosis::banner(app))]
    }
}
