//! The whole configuration, read once. Each section is defined beside its component, rules between sections here. Features
//! read their own sections.

mod load;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Extensions;
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::jobs;
use crate::platform::config::{Env, Environment, List, Note, Origin, Problem, Section};
use crate::platform::http::deprecation::{self, Deprecation};
use crate::platform::{auth, db, rate_limit, redis, telemetry};
use crate::providers::{email, storage};

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub core: Core,
    pub database: db::Config,
    pub redis: redis::Config,
    pub auth: auth::Config,
    pub rate_limit: rate_limit::Config,
    pub jobs: jobs::Config,
    pub email: email::Config,
    pub storage: storage::Config,
    pub telemetry: telemetry::Config,
    /// The sections of features, by their types.
    features: Extensions,
}

/// Settings of the process as a whole.
#[derive(Debug, Clone)]
pub struct Core {
    pub project_name: String,
    pub environment: Environment,
    /// `None` only in a local installation whose secret does not exist yet.
    pub secret_key: Option<SecretString>,
    /// Earlier secrets: they verify and open what was made with them, and make nothing.
    pub previous_secret_keys: Vec<SecretString>,
    /// Prefix of the OpenAPI document of version 1; the routes themselves are fixed.
    pub api_prefix: String,
    /// The same for the document of version 2.
    pub api_v2_prefix: String,
    pub deprecated: Vec<Deprecation>,
    pub cors_origins: Vec<Origin>,
    pub host: IpAddr,
    pub port: u16,
    /// With ENVIRONMENT=local: pages for developers answer other machines too.
    pub mailbox_remote: bool,
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
        let any_or_loopback = if environment == Environment::Local { [127, 0, 0, 1] } else { [0, 0, 0, 0] };
        let seconds = Duration::from_secs;
        Self {
            environment,
            project_name: env.var("PROJECT_NAME", "Name shown in documentation, e-mails, logs and metrics").or("OmniStack API".to_owned()),
            secret_key: env
                .var("SECRET_KEY", "Secret from which all keys of the server are derived, at least 32 characters")
                .shown_default("`made at the first start and kept in DATA_DIR` with ENVIRONMENT=local, else required")
                .secret(32),
            previous_secret_keys: env
                .var("SECRET_KEY_PREVIOUS", "Earlier values of SECRET_KEY, separated by commas: what they signed stays valid")
                .secrets(32, 4),
            api_prefix: env.var("API_V1_STR", "Path prefix of the OpenAPI document of v1; the API routes do not change").checked(
                "/api/v1".to_owned(),
                |text: &String| is_prefix(text),
                "a path such as /api/v1",
            ),
            api_v2_prefix: env.var("API_V2_STR", "Path prefix of the OpenAPI document of v2; the API routes do not change").checked(
                "/api/v2".to_owned(),
                |text: &String| is_prefix(text),
                "a path such as /api/v2",
            ),
            deprecated: deprecation::read(env),
            cors_origins: env
                .var("BACKEND_CORS_ORIGINS", "Allowed CORS origins, as a JSON list or separated by commas")
                .or(List(vec![Origin("http://localhost:3000".to_owned())]))
                .0,
            host: env
                .var("HOST", "Address to listen on")
                .shown_default("`127.0.0.1` with ENVIRONMENT=local, else `0.0.0.0`")
                .or(Host(IpAddr::from(any_or_loopback)))
                .0,
            port: env.var("PORT", "Port to listen on").or(8000),
            mailbox_remote: env
                .var("MAILBOX_REMOTE", "With ENVIRONMENT=local: whether pages under /dev answer other machines too")
                .or(false),
            public_base_url: env.var("PUBLIC_BASE_URL", "Public URL of the API, e.g. https://api.example.com").optional(),
            trusted_proxies: env
                .var("TRUSTED_PROXIES", "Networks of trusted proxies, whose X-Forwarded-For is used, e.g. 10.0.0.0/8")
                .optional::<List<IpNet>>()
                .unwrap_or_default()
                .0,
            max_body_bytes: env.var("MAX_BODY_BYTES", "Size limit of a JSON body in bytes").checked(
                1_048_576,
                |n| (1..=100 << 20).contains(n),
                "from 1 to 104857600",
            ),
            request_timeout: env.var("REQUEST_TIMEOUT_SECONDS", "Time limit of a request; 503 after it").checked(
                seconds(30),
                |d| (1..=3600).contains(&d.as_secs()),
                "from 1 to 3600",
            ),
            shutdown_delay: env
                .var(
                    "SHUTDOWN_DELAY_SECONDS",
                    "Time between a stop signal and the shutdown, in which readiness fails and requests are still served",
                )
                .shown_default("`0`; `5` in production")
                .or(seconds(if production { 5 } else { 0 })),
            shutdown_grace: env.var("SHUTDOWN_GRACE_SECONDS", "Time limit for running requests and jobs during shutdown").or(seconds(30)),
            data_dir: env.var("DATA_DIR", "Folder for the secret key and the development mailbox").or(PathBuf::from("./data")),
        }
    }
}

fn is_prefix(text: &str) -> bool {
    text.starts_with('/') && !text.ends_with('/') && !text.contains(['{', '}', '*', ' '])
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

/// A configuration without problems, with its variables and warnings.
pub struct Loaded {
    pub config: Config,
    pub notes: Vec<Note>,
    pub warnings: Vec<Problem>,
}

impl Config {
    /// A feature's section. `None` if that feature is not installed.
    pub fn feature<T: Clone + Send + Sync + 'static>(&self) -> Option<&T> {
        self.features.get()
    }

    /// Secret of a local installation, created at the first start. Blocking: call only at startup.
    pub fn with_secret(mut self) -> anyhow::Result<Self> {
        if self.core.secret_key.is_none() {
            self.core.secret_key = Some(super::secret_key::load_or_create(&self.core.data_dir)?);
        }
        Ok(self)
    }
}
