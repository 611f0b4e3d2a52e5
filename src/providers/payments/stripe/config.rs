//! Settings of Stripe.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::platform::config::{Env, List, Section};

/// Maximum number of webhook secrets.
const MAX_SECRETS: usize = 10;

#[derive(Debug, Clone)]
pub struct Config {
    /// Billing is configured if this is set.
    pub secret_key: Option<SecretString>,
    /// Any of them may have signed a webhook. The webhook is configured if there is one.
    pub webhook_secrets: Vec<SecretString>,
    pub price_monthly: Option<String>,
    pub price_yearly: Option<String>,
    pub prices_enterprise: Vec<String>,
    pub api_base: Option<Url>,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Payments");
        let config = Self {
            secret_key: env.var("STRIPE_SECRET_KEY", "Stripe: secret key; billing is configured if it is set").secret(1),
            webhook_secrets: env
                .var("STRIPE_WEBHOOK_SECRET", "Stripe: signing secrets of the webhook (`whsec_…`), separated by commas")
                .secrets(1, MAX_SECRETS),
            price_monthly: env.var("STRIPE_PRICE_ID_MONTHLY", "Stripe: price of the monthly subscription, plan `pro`").optional(),
            price_yearly: env.var("STRIPE_PRICE_ID_YEARLY", "Stripe: price of the yearly subscription, plan `pro`").optional(),
            prices_enterprise: env
                .var("STRIPE_PRICE_ID_ENTERPRISE", "Stripe: prices of plan `enterprise`, separated by commas")
                .optional::<List<String>>()
                .unwrap_or_default()
                .0,
            api_base: env
                .var("STRIPE_API_BASE", "Stripe: base URL of its API, for tests")
                .shown_default("https://api.stripe.com/")
                .optional(),
        };
        config.check(env);
        config
    }
}

impl Config {
    fn check(&self, env: &mut Env) {
        if self.secret_key.is_none() {
            return;
        }
        if !cfg!(feature = "stripe") {
            let remedy = "Build it with the cargo feature `stripe`, or leave it unset";
            env.problem("STRIPE_SECRET_KEY", "is set, but this binary was built without Stripe", remedy);
        }
        if env.environment().is_production() && !env.is_set("STRIPE_WEBHOOK_SECRET") {
            let remedy = "Set it to the signing secret of the webhook endpoint, from the Stripe dashboard";
            env.problem("STRIPE_WEBHOOK_SECRET", "is required in production with STRIPE_SECRET_KEY", remedy);
        }
    }

    /// Whether the key is one of Stripe's test mode, in which no money moves.
    pub fn is_test_mode(&self) -> bool {
        self.secret_key.as_ref().is_some_and(|key| key.expose_secret().trim().contains("_test_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> (Config, Vec<String>) {
        let mut env = Env::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        env.read_environment();
        let config = Config::read(&mut env);
        (config, env.finish().problems.into_iter().map(|problem| problem.variable).collect())
    }

    #[test]
    #[cfg(feature = "stripe")]
    fn production_key_requires_webhook_secret() {
        let key = ("STRIPE_SECRET_KEY", "sk_live_x");
        let production = ("ENVIRONMENT", "production");
        assert!(read(&[key]).1.is_empty());
        assert_eq!(read(&[key, production]).1, ["STRIPE_WEBHOOK_SECRET"]);
        assert!(read(&[key, production, ("STRIPE_WEBHOOK_SECRET", "whsec_a,whsec_b")]).1.is_empty());
        assert!(read(&[production]).1.is_empty());
    }

    #[test]
    fn webhook_secrets_and_enterprise_prices_are_lists() {
        let (config, problems) = read(&[
            ("STRIPE_WEBHOOK_SECRET", "whsec_a, whsec_b"),
            ("STRIPE_PRICE_ID_ENTERPRISE", "price_1,price_2"),
            ("STRIPE_API_BASE", "x"),
        ]);
        let secrets: Vec<_> = config.webhook_secrets.iter().map(|secret| secret.expose_secret().trim()).collect();
        assert!(secrets.contains(&"whsec_a") && secrets.contains(&"whsec_b"), "{secrets:?}");
        assert_eq!(config.prices_enterprise, ["price_1", "price_2"]);
        assert_eq!(problems, ["STRIPE_API_BASE"]);
    }

    #[test]
    fn test_mode_is_seen_by_the_key() {
        for (key, test) in [("sk_test_x", true), ("rk_test_x", true), ("sk_live_x", false)] {
            assert_eq!(read(&[("STRIPE_SECRET_KEY", key)]).0.is_test_mode(), test, "{key}");
        }
    }
}
