//! The secrets in the form in which they verify, and the rules for them.

use std::sync::Arc;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use super::config::{CLERK_SECRET, SUPABASE_SECRET, Settings};
use super::svix;
use crate::app::config::Config;
use crate::app::feature::Setup;
use crate::platform::auth::Provider;
use crate::platform::config::Env;

/// Length of a secret in production, in bytes.
const STRONG: usize = 16;

#[derive(Clone)]
pub struct State {
    pub clerk: Arc<[svix::Secret]>,
    pub supabase: Arc<[SecretString]>,
}

impl State {
    pub fn new(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let settings = setup.config.feature::<Settings>().context("the settings were not read")?;
        Ok(Self { clerk: settings.clerk.iter().filter_map(svix::Secret::parse).collect(), supabase: settings.supabase.clone().into() })
    }
}

pub fn check_config(config: &Config, env: &mut Env) {
    let Some(settings) = config.feature::<Settings>() else { return };
    let keys: Vec<_> = settings.clerk.iter().filter_map(svix::Secret::parse).collect();
    let copy = "Copy it from the endpoint's page at Clerk";
    if keys.len() < settings.clerk.len() && !env.has_problem(CLERK_SECRET) {
        env.problem(CLERK_SECRET, "must be `whsec_` and text in base64, as Clerk shows it", copy);
    }
    if !config.core.environment.is_production() {
        return;
    }
    let weak = format!("is shorter than {STRONG} bytes, so that it can be guessed");
    if keys.iter().any(|key| key.len() < STRONG) && !env.has_problem(CLERK_SECRET) {
        env.problem(CLERK_SECRET, &weak, copy);
    }
    if settings.supabase.iter().any(|secret| secret.expose_secret().trim().len() < STRONG) && !env.has_problem(SUPABASE_SECRET) {
        env.problem(SUPABASE_SECRET, &weak, "Make one with `openssl rand -hex 32`, and set it in the webhook's headers too");
    }
    if config.auth.provider == Provider::Clerk && !env.is_set(CLERK_SECRET) {
        env.warning(
            CLERK_SECRET,
            "is unset: changes and deletions of users at Clerk do not reach this service",
            "Make an endpoint for /api/v1/public/webhooks/clerk at Clerk, and copy its signing secret",
        );
    }
}
