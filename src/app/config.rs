//! The whole configuration, read once: each section beside its component, the rules between them here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::jobs;
use crate::platform::config::{Env, Environment, Findings, List, Note, Origin, Problem, Section};
use crate::platform::{auth, db, rate_limit, redis, telemetry};
use crate::providers::{email, storage};

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    pub core: Core,
    pub database: db::Config,
    pub redis: redis::Config,
    pub auth: auth::Config,
    pub accounts: crate::features::accounts::config::Config,
    pub rate_limit: rate_limit::Config,
    pub jobs: jobs::Config,
    pub email: email::Config,
    pub storage: storage::Config,
    pub telemetry: telemetry::Config,
}

/// What concerns the process as a whole.
#[derive(Debug, Clone)]
pub struct Core {
    pub project_name: String,
    pub environment: Environment,
    /// `None` only in a local installation before its secret was made.
    pub secret_key: Option<SecretString>,
    /// Prefix of the OpenAPI document; the routes themselves are fixed.
    pub api_prefix: String,
    pub cors_origins: Vec<Origin>,
    pub host: IpAddr,
    pub port: u16,
    pub public_base_url: Option<Url>,
    pub trusted_proxies: Vec<IpNet>,
    pub max_body_bytes: usize,
    pub request_timeout: Duration,
    pub shutdown_delay: Duration,
    pub shutdown_grace: Duration,
    pub data_dir: PathBuf,
}

impl Section for Core {
    fn read(env: &mut Env) -> Self {
        env.section("Core");
        let environment = env.read_environment();
        let production = environment.is_production();
        let seconds = Duration::from_secs;
        Self {
            environment,
            project_name: env.var("PROJECT_NAME", "Title in documentation, mails, logs and metrics").or("OmniStack API".to_owned()),
            secret_key: env
                .var("SECRET_KEY", "All of the service's own keys are derived from it; 32 characters or more")
                .shown_default("`made at the first start and kept in DATA_DIR` with ENVIRONMENT=local, else required")
                .secret(32),
            api_prefix: env.var("API_V1_STR", "Prefix of the OpenAPI document; the routes themselves are fixed").checked(
                "/api/v1".to_owned(),
                |text: &String| text.starts_with('/') && !text.ends_with('/') && !text.contains(['{', '}', '*', ' ']),
                "a path such as /api/v1",
            ),
            cors_origins: env
                .var("BACKEND_CORS_ORIGINS", "Origins whose pages may call the API: a JSON list, or separated by commas")
                .or(List(vec![Origin("http://localhost:3000".to_owned())]))
                .0,
            host: env.var("HOST", "Address to listen on").or(Host(IpAddr::from([0, 0, 0, 0]))).0,
            port: env.var("PORT", "Port to listen on").or(8000),
            public_base_url: env.var("PUBLIC_BASE_URL", "How clients reach the service, e.g. https://api.example.com").optional(),
            trusted_proxies: env
                .var("TRUSTED_PROXIES", "Networks whose X-Forwarded-For is believed, e.g. 10.0.0.0/8")
                .optional::<List<IpNet>>()
                .unwrap_or_default()
                .0,
            max_body_bytes: env.var("MAX_BODY_BYTES", "Largest JSON body").checked(
                1_048_576,
                |n| (1..=100 << 20).contains(n),
                "from 1 to 104857600",
            ),
            request_timeout: env.var("REQUEST_TIMEOUT_SECONDS", "Longest time for an answer, 503 after it").checked(
                seconds(30),
                |d| (1..=3600).contains(&d.as_secs()),
                "from 1 to 3600",
            ),
            shutdown_delay: env
                .var("SHUTDOWN_DELAY_SECONDS", "After a stop signal: not ready, but still serving, so that balancers notice")
                .shown_default("`0`; `5` in production")
                .or(seconds(if production { 5 } else { 0 })),
            shutdown_grace: env.var("SHUTDOWN_GRACE_SECONDS", "Time for running requests to end after that").or(seconds(30)),
            data_dir: env
                .var("DATA_DIR", "What the service itself keeps of a local installation: its secret key, the developer's mailbox")
                .or(PathBuf::from("./data")),
        }
    }
}

/// An IP address to listen on.
struct Host(IpAddr);

impl crate::platform::config::Value for Host {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self(IpAddr::from([127, 0, 0, 1])));
        }
        text.parse().map(Self).map_err(|_| "an IP address such as 0.0.0.0 or 127.0.0.1".to_owned())
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// A configuration without problems, and what else is to be told about it.
pub struct Loaded {
    pub config: Config,
    pub notes: Vec<Note>,
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads every section; all problems at once, or the configuration.
    pub fn load(mut env: Env) -> Result<Loaded, Findings> {
        let config = Self {
            core: Core::read(&mut env),
            database: db::Config::read(&mut env),
            redis: redis::Config::read(&mut env),
            auth: auth::Config::read(&mut env),
            accounts: crate::features::accounts::config::Config::read(&mut env),
            rate_limit: rate_limit::Config::read(&mut env),
            jobs: jobs::Config::read(&mut env),
            email: email::Config::read(&mut env),
            storage: storage::Config::read(&mut env),
            telemetry: telemetry::Config::read(&mut env),
        };
        config.check(&mut env);
        let found = env.finish();
        if found.problems.is_empty() { Ok(Loaded { config, notes: found.notes, warnings: found.warnings }) } else { Err(found) }
    }

    /// The secret of a local installation, made at the first start. Blocking: for the start only.
    pub fn with_secret(mut self) -> anyhow::Result<Self> {
        if self.core.secret_key.is_none() {
            self.core.secret_key = Some(super::secret_key::load_or_create(&self.core.data_dir)?);
        }
        Ok(self)
    }

    /// Where links in mails lead, if it is configured. Never taken from a request: whoever sends it would choose it.
    pub fn link_base(&self) -> Option<&Url> {
        self.accounts.link_base.as_ref().or(self.core.public_base_url.as_ref())
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
        if self.auth.provider == auth::Provider::Local && self.link_base().is_none() {
            env.problem(
                "AUTH_LINK_BASE_URL",
                "or PUBLIC_BASE_URL is required in production with AUTH_PROVIDER=local",
                "Set it to the front end that links in mails lead to, e.g. https://app.example.com",
            );
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
        Config::load(Env::from_vars(vars)).map_err(|found| found.problems.into_iter().map(|p| p.variable).collect())
    }

    const PRODUCTION: [(&str, &str); 6] = [
        ("ENVIRONMENT", "production"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
        ("DATABASE_URL", "postgres://db/app"),
        ("BACKEND_CORS_ORIGINS", "https://app.example.com"),
        ("REDIS_URL", "redis://cache"),
        ("AUTH_LINK_BASE_URL", "https://app.example.com"),
    ];

    #[test]
    fn a_clone_needs_no_variable() {
        let loaded = load(&[]).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!((loaded.config.core.port, loaded.config.auth.provider), (8000, auth::Provider::Local));
    }

    #[test]
    fn production_refuses_what_only_suits_a_laptop() {
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
            ("AUTH_LINK_BASE_URL", ""),
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
    fn the_provider_follows_from_its_variables() {
        let provider = |vars: &[(&str, &str)]| load(vars).map(|l| l.config.auth.provider);
        assert_eq!(provider(&[("SUPABASE_PROJECT_URL", "https://x.supabase.co")]), Ok(auth::Provider::Supabase));
        assert_eq!(provider(&[("CLERK_WEBHOOK_SECRET", "whsec_x")]), Ok(auth::Provider::Clerk));
        assert_eq!(provider(&[("OAUTH_JWT_SECRET", "0123456789abcdef0123456789abcdef")]), Ok(auth::Provider::Custom));
        assert_eq!(provider(&[("AUTH_PROVIDER", "local"), ("OAUTH_ISSUER", "x")]), Ok(auth::Provider::Local));
    }
}
