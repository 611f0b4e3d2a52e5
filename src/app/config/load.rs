//! Reads the configuration, its features' sections included, and checks the rules between its parts.

use http::Extensions;
use secrecy::{ExposeSecret, SecretString};

use super::{Config, Core, Loaded};
use crate::app::feature::Feature;
use crate::app::jobs;
use crate::platform::config::{Env, Environment, Findings, Section};
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
        if !core.environment.is_production() {
            return;
        }
        if self.telemetry.debug {
            env.problem("DEBUG", "must be false in production", "Remove it; LOG_LEVEL=DEBUG is allowed for a while");
        }
        if core.secret_key.as_ref().is_some_and(is_sample) {
            env.problem("SECRET_KEY", "is a sample value or a single repeated character", "Make one with `openssl rand -hex 32`");
        }
        if core.cors_origins.iter().any(|origin| origin.0 == "*") {
            env.problem("BACKEND_CORS_ORIGINS", "must not hold * in production", "List the origins of your front ends");
        } else if core.cors_origins.iter().any(|origin| !origin.0.starts_with("https://")) {
            env.problem(
                "BACKEND_CORS_ORIGINS",
                "must hold only https origins in production",
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

    fn load(vars: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load::<()>(Env::from_vars(vars), &[]).map_err(|found| found.problems.into_iter().map(|p| p.variable).collect())
    }

    const PRODUCTION: [(&str, &str); 5] = [
        ("ENVIRONMENT", "production"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
        ("DATABASE_URL", "postgres://db/app"),
        ("BACKEND_CORS_ORIGINS", "https://app.example.com"),
        ("REDIS_URL", "redis://cache"),
    ];

    #[test]
    fn config_without_variables_loads_defaults() {
        let loaded = load(&[]).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!((loaded.config.core.port, loaded.config.auth.provider), (8000, auth::Provider::Local));
    }

    #[test]
    fn config_in_production_refuses_development_settings() {
        assert!(load(&PRODUCTION).is_ok());
        for (name, value) in [
            ("SECRET_KEY", "change-me-change-me-change-me-change-me"),
            ("SECRET_KEY", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            ("SECRET_KEY", ""),
            ("SECRET_KEY", "short"),
            ("DATABASE_URL", ""),
            ("DATABASE_URL", "sqlite:///x.db"),
            ("BACKEND_CORS_ORIGINS", "http://app.example.com"),
            ("BACKEND_CORS_ORIGINS", "*"),
            ("DEBUG", "true"),
            ("OAUTH_ISSUER", ""),
        ] {
            let mut vars = PRODUCTION.to_vec();
            if name == "OAUTH_ISSUER" {
                vars.push(("OAUTH_JWT_SECRET", "0123456789abcdef0123456789abcdef"));
            }
            vars.retain(|(n, _)| *n != name);
            vars.push((name, value));
            assert_eq!(load(&vars).err().as_deref(), Some([name.to_owned()].as_slice()), "{name}={value}");
        }
    }

    #[test]
    fn auth_provider_is_inferred_from_its_variables() {
        let provider = |vars: &[(&str, &str)]| load(vars).map(|l| l.config.auth.provider);
        assert_eq!(provider(&[("SUPABASE_PROJECT_URL", "https://x.supabase.co")]), Ok(auth::Provider::Supabase));
        assert_eq!(provider(&[("CLERK_WEBHOOK_SECRET", "whsec_x")]), Ok(auth::Provider::Clerk));
        assert_eq!(provider(&[("OAUTH_JWT_SECRET", "0123456789abcdef0123456789abcdef")]), Ok(auth::Provider::Custom));
        assert_eq!(provider(&[("AUTH_PROVIDER", "local"), ("OAUTH_ISSUER", "x")]), Ok(auth::Provider::Local));
    }
}
