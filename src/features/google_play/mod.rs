//! Subscriptions bought in Google Play: pushed notifications, and the linking of purchases to users.
//!
//! Routes `/public/webhooks/google` and `/app/billing/iap/google`. No tables: subscriptions are kept by `features::subscriptions`, a
//! user's last purchase token in `users`. Functions `read_google_purchase` and `acknowledge_google_purchase`. Settings `GOOGLE_…`,
//! in `providers::payments::google`.
//!
//! To remove: this folder, its line in `features/mod.rs`, `providers/payments/google`.

mod diagnosis;
mod jobs;
mod kinds;
mod model;
mod notifications;
mod routes;
mod service;
mod snapshot;
mod source;
mod state;

use async_trait::async_trait;
use http::Extensions;

use crate::app::App;
use crate::app::config::Config as AppConfig;
use crate::app::feature::{Feature, Finding, Setup};
use crate::app::jobs::Registry;
use crate::features::{subscriptions, webhooks};
use crate::platform::config::{Env, Section};
use crate::platform::http::Endpoints;
use crate::providers::payments::google::Config;
use state::State;

pub struct GooglePlay;

#[async_trait]
impl Feature<App> for GooglePlay {
    fn name(&self) -> &'static str {
        "google_play"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(Config::read(env));
    }

    fn check_config(&self, config: &AppConfig, env: &mut Env) {
        if let Some(google) = config.feature::<Config>() {
            google.check(env);
        }
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(State::new(setup)?);
        webhooks::service::add(setup, &notifications::Notifications);
        subscriptions::service::add_source(setup, &source::PlaySource);
        Ok(())
    }

    fn endpoints(&self) -> Endpoints<App> {
        routes::endpoints()
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<model::ReadGooglePurchase>();
        registry.add::<model::AcknowledgeGooglePurchase>();
    }

    async fn diagnose(&self, app: &App) -> Vec<Finding> {
        diagnosis::diagnose(app).await
    }

    fn banner(&self, app: &App) -> Vec<(&'static str, String)> {
        vec![("Google Play", diagnosis::banner(app))]
    }
}
