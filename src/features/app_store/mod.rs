//! Subscriptions bought in Apple's App Store: its server notifications, and the linking of purchases to users.
//!
//! Routes `/public/webhooks/apple` and `/app/billing/iap/apple`. No tables: subscriptions are kept by `features::subscriptions`, a
//! user's original transaction id in `users`. Settings `APPLE_…`, in `providers::payments::apple`.
//!
//! To remove: this folder, its line in `features/mod.rs`, `providers/payments/apple`.

mod bundle;
mod diagnosis;
mod kinds;
mod model;
mod notices;
mod routes;
mod service;
mod source;
mod state;
mod statement;
mod transaction;

use async_trait::async_trait;
use http::Extensions;

use crate::app::App;
use crate::app::feature::{Feature, Finding, Setup};
use crate::features::subscriptions::service as subscriptions;
use crate::features::webhooks::service as webhooks;
use crate::platform::config::{Env, Section};
use crate::platform::http::Endpoints;
use crate::providers::payments::apple::Config;
use state::State;

pub struct AppStore;

#[async_trait]
impl Feature<App> for AppStore {
    fn name(&self) -> &'static str {
        "app_store"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(Config::read(env));
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(State::new(setup)?);
        webhooks::add(setup, &notices::Notices);
        subscriptions::add_source(setup, &source::AppStoreSource);
        Ok(())
    }

    fn endpoints(&self) -> Endpoints<App> {
        routes::endpoints()
    }

    async fn diagnose(&self, app: &App) -> Vec<Finding> {
        diagnosis::diagnose(app).await
    }

    fn banner(&self, app: &App) -> Vec<(&'static str, String)> {
        vec![("App Store", diagnosis::banner(app))]
    }
}
