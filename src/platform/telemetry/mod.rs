//! Observability: log lines, metrics, and the request that each log line belongs to.

pub mod auth_events;
pub mod context;
pub mod logs;
pub mod metrics;

use std::time::Duration;

use secrecy::SecretString;

use crate::platform::config::{Choice, Env, Section};

/// Telemetry settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub level: Level,
    /// Logs SQL (without values) and other detail.
    pub debug: bool,
    pub metrics_token: Option<SecretString>,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Observability");
        // A page of numbers needs no strong secret on a laptop; in production the token is all that protects it.
        let shortest = if env.environment().is_production() { 16 } else { 1 };
        Self {
            level: env.var("LOG_LEVEL", "`DEBUG`, `INFO`, `WARNING` or `ERROR`").or(Level::Info),
            debug: env.var("DEBUG", "Log SQL statements (without values); refused in production").or(false),
            metrics_token: env
                .var(
                    "METRICS_TOKEN",
                    "Bearer token of the metrics page, at least 16 characters in production, where the page is 404 without it",
                )
                .secret(shortest),
        }
    }
}

/// The minimum level of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Choice for Level {
    const NAMES: &'static [(&'static str, Self)] =
        &[("DEBUG", Self::Debug), ("INFO", Self::Info), ("WARNING", Self::Warning), ("ERROR", Self::Error)];
}

/// Milliseconds with two decimals, as log lines show durations.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}
