//! Webhooks of the identity providers Clerk and Supabase: users are inserted, changed and deactivated as they are there.
//!
//! Table `identity_profiles`, routes `/public/webhooks/clerk` and `/public/webhooks/supabase`. Each is configured by its secret,
//! whatever `AUTH_PROVIDER` is. The log of events belongs to `features::webhooks`, the user to `features::users`.

mod clerk;
mod config;
mod model;
mod routes;
mod service;
mod state;
mod store;
mod supabase;
mod svix;

use async_trait::async_trait;
use http::Extensions;
use utoipa_axum::routes;

use crate::app::App;
use crate::app::config::Config;
use crate::app::feature::{Feature, Removed, Setup, When};
use crate::features::webhooks;
use crate::platform::config::Env;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::Endpoints;
use crate::platform::id::UserId;

pub struct IdentityWebhooks;

#[async_trait]
impl Feature<App> for IdentityWebhooks {
    fn name(&self) -> &'static str {
        "identity_webhooks"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(config::Settings::read(env));
    }

    fn check_config(&self, config: &Config, env: &mut Env) {
        state::check_config(config, env);
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(state::State::new(setup)?);
        webhooks::service::add(setup, &clerk::Clerk);
        webhooks::service::add(setup, &supabase::Supabase);
        Ok(())
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new().add(webhooks::POLICY, routes!(routes::clerk)).add(webhooks::POLICY, routes!(routes::supabase))
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
