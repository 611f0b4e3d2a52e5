//! Reads the configuration, its features' sections included, and checks the rules between its parts.

use http::Extensions;
use secrecy::{ExposeSecret, SecretString};

use super::{Config, Core, Loaded};
use crate::app::feature::Feature;
use crate::app::jobs;
use crate::platform::config::{Env, Environment, Findings, Origin, Section};
use crate::platform::{auth, db, rate_limit, redis, telemetry};
use crate::providers::{email, storage};

impl Config {
    /// Reads every section; returns all problems at once, or the configuration.
    pub fn load<A: Send + Sync + 'static>(mut env: Env, features: &[&'static dyn Feature<A>]) -> Result<Loaded, Findings> {
        let budgets: Vec<&'static rate_limit::Budget> = std::iter::once(&rate_limit::DEFAULT)
            .chain(features.iter().flat_map(|feature| feature.endpoints()).filter_map(|endpoint| endpoint.policy.budget))
            .collect();
        let (core, database, redis) = (Core::read(&mut env), db::Config::read(&mut env), redis::Config::read(&mut env));
        let (auth, rate_limit) = (auth::Config::read(&mut env), rate_limit::Config::read(&mut env, &budgets));
        let mut sections = Extensions::new();
        let config = Self {
            core,
            database,
            redis,
            auth,
            rate_limit,
            jobs: jobs::Config::read(&mut env),
            email: email::Config::read(&mut env),
            storage: storage::Config::read(&mut env),
            telemetry: telemetry::Config::read(&mut env),
            features: {
                for feature in features {
                    feature.config(&mut env, &mut sections);
                }
                sections
            },
        };
        config.check(&mut env);
        for feature in features {
            feature.check_config(&config, &mut env);
        }
        let found = env.finish();
        if found.problems.is_empty() { Ok(Loaded { config, notes: found.notes, warnings: found.warnings }) } else { Err(found) }
    }

    fn check(&self, env: &mut Env) {
        let core = &self.core;
        let local = core.environment == Environment::Local;
        if core.secret_key.is_none() && !local && !env.is_set("SECRET_KEY") {
            env.problem("SECRET_KEY", "is required outside ENVIRONMENT=local", "Make one with `openssl rand -hex 32`");
        }
        if core.api_prefix == core.api_v2_prefix {
            env.problem("API_V2_STR", "must differ from API_V1_STR: each version has a document of its own", "Set another prefix");
        }
        if !core.environment.is_production() {
            return;
        }
        if self.telemetry.debug {
            env.problem("DEBUG", "must be false in production", "Remove it; LOG_LEVEL=DEBUG is allowed for a while");
        }
        if core.secret_key.as_ref().is_some_and(is_sample) {
            env.problem("SECRET_KEY", "is a sample value or a single repeated character", "Make one with `openssl rand -hex 32`");
        }
        if core.previous_secret_keys.iter().any(is_sample) {
            env.problem(
                "SECRET_KEY_PREVIOUS",
                "holds a sample value or a single repeated character",
                "Remove it: anybody can sign with it",
            );
        }
        if core.public_base_url.as_ref().is_some_and(|url| url.scheme() != "https") {
            env.problem(
                "PUBLIC_BASE_URL",
                "must be an https URL in production",
                "Set it to the public URL of the API, e.g. https://api.example.com",
            );
        }
        if core.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
            env.problem(
                "TRUSTED_PROXIES",
                "must not hold a network of all addresses (0.0.0.0/0, ::/0): any client could then choose the address it is seen with",
                "List the networks of your proxies, e.g. 10.0.0.0/8",
            );
        }
        if core.cors_origins.iter().any(|origin| origin.0 == "*") {
            env.problem("BACKEND_CORS_ORIGINS", "must not hold * in production", "List the origins of your front ends");
        } else if core.cors_origins.iter().any(Origin::is_plain_http) && !env.has_problem("BACKEND_CORS_ORIGINS") {
            env.problem(
                "BACKEND_CORS_ORIGINS",
                "must hold no http origins in production",
                "List the origins of your front ends, e.g. https://app.example.com",
            );
        }
    }
}

fn is_sample(secret: &SecretString) -> bool {
    let text = secret.expose_secret().to_ascii_lowercase();
    let mut characters = text.chars();
    let repeated = characters.next().is_some_and(|first| characters.all(|c| c == first));
    repeated || ["your-super-secret", "change-me", "changeme", "your-secret-key"].iter().any(|sample| text.contains(sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The features that have rules of their own on the configuration are tested by `tests/it/process/production.rs`.
    fn load(vars: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load::<()>(Env::from_vars(vars), &[]).map_err(|found| found.problems.into_iter().map(|p| p.variable).collect())
    }

    #[test]
    fn config_without_variables_loads_defaults() {
        let loaded = load(&[]).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!((loaded.config.core.port, loaded.config.auth.provider), (8000, auth::Provider::Local));
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn auth_provider_is_inferred_from_its_variables() {
        let provider = |vars: &[(&str, &str)]| load(vars).map(|l| l.config.auth.provider);
        assert_eq!(provider(&[("SUPABASE_PROJECT_URL", "https://x.supabase.co")]), Ok(auth::Provider::Supabase));
        assert_eq!(provider(&[("CLERK_WEBHOOK_SECRET", "whsec_x")]), Ok(auth::Provider::Clerk));
        assert_eq!(provider(&[("OAUTH_JWT_SECRET", "0123456789abcdef0123456789abcdef")]), Ok(auth::Provider::Custom));
        assert_eq!(provider(&[("AUTH_PROVIDER", "local"), ("OAUTH_ISSUER", "x")]), Ok(auth::Provider::Local));
    }

    #[test]
    fn previous_secret_keys_are_read_as_they_were_used() {
        let (a, b) = ("a-secret-of-thirty-two-characters-1", "a-secret-of-thirty-two-characters-2");
        let previous = |value: &str| {
            let loaded = load(&[("SECRET_KEY_PREVIOUS", value)]).map_err(|problems| problems.join(","))?;
            Ok::<_, String>(loaded.config.core.previous_secret_keys.iter().map(|key| key.expose_secret().to_owned()).collect::<Vec<_>>())
        };
        // With a line break too, as a secret that was read from a file may have it.
        let both = [a.to_owned(), format!("{a}\n"), b.to_owned(), format!("{b}\n")];
        for value in [format!("{a},{b}"), format!(" {a} , {b}\n"), format!("[\"{a}\", \"{b}\"]")] {
            assert_eq!(previous(&value).as_deref(), Ok(both.as_slice()), "{value}");
        }
        for value in ["short", &format!("{a},short"), "[1]", ",", &[a; 5].join(",")] {
            assert_eq!(previous(value), Err("SECRET_KEY_PREVIOUS".to_owned()), "{value}");
        }
    }
}
