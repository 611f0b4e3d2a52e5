//! Settings of billing. Those of Stripe itself are read by `providers::payments::stripe`.

use super::redirects::Host;
use crate::platform::config::{Env, List, Section};

#[derive(Debug, Clone)]
pub struct Settings {
    /// `None`: the hosts of `BACKEND_CORS_ORIGINS`.
    pub redirect_hosts: Option<Vec<Host>>,
}

impl Section for Settings {
    fn read(env: &mut Env) -> Self {
        env.section("Payments");
        let help = "Hosts that checkout and portal may lead back to: `host` (any port) or `host:port`, separated by commas";
        let shown = "`the hosts of BACKEND_CORS_ORIGINS`";
        let redirect_hosts = env.var("BILLING_ALLOWED_REDIRECT_HOSTS", help).shown_default(shown).optional::<List<Host>>();
        Self { redirect_hosts: redirect_hosts.map(|list| list.0) }
    }
}
