//! Settings of the identity providers' webhooks.

use secrecy::{ExposeSecret, SecretString};

use super::svix;
use crate::app::config::Config;
use crate::platform::auth::Provider;
use crate::platform::config::Env;

pub const CLERK_SECRET: &str = "CLERK_WEBHOOK_SECRET";
pub const SUPABASE_SECRET: &str = "SUPABASE_WEBHOOK_SECRET";

/// Maximum number of secrets in a list.
const SECRETS: usize = 4;
/// Length of a secret in production, in bytes or characters.
const STRONG: usize = 16;

#[derive(Clone)]
pub struct Settings {
    /// Any of them may match. None: not configured.
    pub clerk: Vec<svix::Secret>,
    pub supabase: Vec<SecretString>,
}

impl Settings {
    pub fn read(env: &mut Env) -> Self {
        env.section("Authentication");
        let clerk = env.var(CLERK_SECRET, "clerk: signing secret of the webhook, `whsec_…`; a comma list while it is rotated");
        let clerk = clerk.secrets(1, SECRETS);
        let supabase = env.var(SUPABASE_SECRET, "supabase: bearer secret of the database webhook; a comma list while it is rotated");
        let supabase = supabase.secrets(1, SECRETS);
        let keys: Vec<_> = clerk.iter().filter_map(svix::Secret::parse).collect();
        if keys.len() < clerk.len() && !env.has_problem(CLERK_SECRET) {
            env.problem(CLERK_SECRET, "must be `whsec_` and text in base64, as Clerk shows it", "Copy it from the endpoint's page at Clerk");
        }
        if env.environment().is_production() {
            let weak = "is shorter than 16 bytes, which can be guessed";
            if keys.iter().any(|key| key.len() < STRONG) && !env.has_problem(CLERK_SECRET) {
                env.problem(CLERK_SECRET, weak, "Copy it from the endpoint's page at Clerk");
            }
            if supabase.iter().any(|secret| secret.expose_secret().trim().len() < STRONG) && !env.has_problem(SUPABASE_SECRET) {
                env.problem(SUPABASE_SECRET, weak, "Make one with `openssl rand -hex 32`, and set it in the webhook's headers too");
            }
        }
        Self { clerk: keys, supabase }
    }
}

pub fn check(config: &Config, env: &mut Env) {
    if config.core.environment.is_production() && config.auth.provider == Provider::Clerk && !env.is_set(CLERK_SECRET) {
        env.warning(
            CLERK_SECRET,
            "is unset: changes and deletions of users at Clerk do not reach this service",
            "Make an endpoint for /api/v1/public/webhooks/clerk at Clerk, and copy its signing secret",
        );
    }
}
