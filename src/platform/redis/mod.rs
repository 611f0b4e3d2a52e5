//! Optional Redis: shared rate limits and cache invalidation across instances.
//!
//! No request fails because of Redis. A failed call marks Redis as down; until a background ping succeeds, callers work in
//! memory without a call.

use secrecy::SecretString;

use crate::platform::config::{Env, Section, is_loopback};

#[cfg(feature = "redis")]
mod live;
#[cfg(not(feature = "redis"))]
mod none;

#[cfg(feature = "redis")]
pub use live::{Redis, Script};
#[cfg(not(feature = "redis"))]
pub use none::{Redis, Script};

/// Redis settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub url: Option<SecretString>,
    pub prefix: String,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Database and Redis");
        let url =
            env.var("REDIS_URL", "`redis://host:6379/0` or `rediss://…`: shares rate limits and cache drops across instances").secret(1);
        if url.is_some() && !cfg!(feature = "redis") {
            env.problem(
                "REDIS_URL",
                "is set, but this binary was built without Redis",
                "Build it with the cargo feature `redis`, or leave it unset",
            );
        } else if url.as_ref().is_some_and(|url| !is_redis_url(url)) {
            env.problem("REDIS_URL", "must be a redis:// or rediss:// URL", "Correct it, or leave it unset");
        }
        if url.as_ref().is_some_and(is_unprotected) && env.environment().is_production() {
            env.warning(
                "REDIS_URL",
                "does not use TLS to another host: somebody on the way can read and change what is sent",
                "Use rediss://, unless the network is private",
            );
        }
        if url.is_none() && env.environment().is_production() {
            env.warning("REDIS_URL", "is unset: rate limits count per process", "Set it where more than one instance runs");
        }
        Self {
            url,
            prefix: env
                .var("REDIS_PREFIX", "Prefix of keys and channels, so that applications can share one Redis")
                .optional()
                .unwrap_or_default(),
        }
    }
}

fn is_redis_url(url: &SecretString) -> bool {
    use secrecy::ExposeSecret;
    url::Url::parse(url.expose_secret()).is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss"))
}

/// Returns whether the connection leaves this machine without TLS.
fn is_unprotected(url: &SecretString) -> bool {
    use secrecy::ExposeSecret;
    url::Url::parse(url.expose_secret()).is_ok_and(|url| url.scheme() == "redis" && !url.host_str().is_none_or(is_loopback))
}

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// The channel is heard from now on; earlier messages may have been missed.
    Connected,
    /// The channel is not heard, or cannot be reached.
    Lost,
    Message(String),
}

/// The state of Redis as readiness reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Healthy,
    Unhealthy,
    NotConfigured,
}
