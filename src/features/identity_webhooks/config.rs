//! Settings of the identity providers' webhooks.

use secrecy::SecretString;

use crate::platform::config::Env;

pub const CLERK_SECRET: &str = "CLERK_WEBHOOK_SECRET";
pub const SUPABASE_SECRET: &str = "SUPABASE_WEBHOOK_SECRET";

/// Maximum number of secrets in a list.
const SECRETS: usize = 4;

/// The secrets of each provider, of which any may match. None: not configured.
#[derive(Clone)]
pub struct Settings {
    pub clerk: Vec<SecretString>,
    pub supabase: Vec<SecretString>,
}

impl Settings {
    pub fn read(env: &mut Env) -> Self {
        env.section("Authentication");
        let clerk = env.var(CLERK_SECRET, "clerk: signing secret of the webhook, `whsec_…`; a comma list while it is rotated");
        let clerk = clerk.secrets(1, SECRETS);
        let supabase = env.var(SUPABASE_SECRET, "supabase: bearer secret of the database webhook; a comma list while it is rotated");
        Self { clerk, supabase: supabase.secrets(1, SECRETS) }
    }
}
