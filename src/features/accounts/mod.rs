//! The service's own accounts (`AUTH_PROVIDER=local`): registration, login, sessions, and account recovery.
//!
//! Tables `credentials`, `registrations`, `sessions`, `one_time_tokens`, `login_failures`, `ws_tickets`. Routes `/public/auth…`, `/app/auth…`, `/app/ws/ticket`;
//! with another provider all of them but `/public/auth/config` and the last are 404. Pages `/verify-email`, `/reset-password`.
//! Function `send_account_email`. The user itself belongs to `features::users`.
//!
//! Follows OWASP ASVS 5.0 (V6 authentication, V7 sessions, V9 tokens), NIST SP 800-63B-4 (passwords), RFC 9700 (rotation of
//! refresh tokens), RFC 8725 and 9068 (access tokens).

mod config;
mod failures;
mod jobs;
pub mod model;
mod pages;
mod routes;
mod rules;
pub mod service;
mod state;
mod store;
mod tokens;

use async_trait::async_trait;
use http::Extensions;
use serde_json::{Map, Value};

use crate::app::App;
use crate::app::config::Config;
use crate::app::feature::{AccessCheck, Feature, Removed, Setup, When};
use crate::app::jobs::Registry;
use crate::platform::actor::CurrentUser;
use crate::platform::auth::Provider;
use crate::platform::config::Env;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::Endpoints;
use crate::platform::id::UserId;
use state::State;

pub struct Accounts;

#[async_trait]
impl Feature<App> for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(config::Settings::read(env));
    }

    fn check_config(&self, config: &Config, env: &mut Env) {
        service::links::check_config(config, env);
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(State::new(setup)?);
        Ok(())
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("auth", "Registration, login and sessions")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        routes::endpoints()
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<jobs::SendAccountEmail>();
    }

    fn access_check(&self, config: &Config) -> Option<Box<dyn AccessCheck<App>>> {
        (config.auth.provider == Provider::Local).then(|| Box::new(SessionIsOpen) as _)
    }

    async fn export(&self, app: &App, user: &UserId) -> Result<Map<String, Value>> {
        service::export(app, user).await
    }

    async fn erase(&self, app: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        service::erase(app, tx, user).await
    }

    async fn deactivate(&self, app: &App, tx: &mut Tx, user: &UserId) -> Result<()> {
        service::end_access(app, tx, user, "deactivated").await
    }

    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        match when {
            When::Expired => service::sweep(app).await,
            When::Old => Ok(Removed::default()),
        }
    }
}

/// Refuses an access token of the local provider once its session has ended.
struct SessionIsOpen;

#[async_trait]
impl AccessCheck<App> for SessionIsOpen {
    async fn check(&self, app: &App, user: &CurrentUser) -> Result<()> {
        service::check_session(app, &user.claims).await
    }
}
