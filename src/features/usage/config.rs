//! Settings of usage.

use chrono::TimeDelta;

use crate::platform::config::{Env, Section};

#[derive(Debug, Clone)]
pub struct Settings {
    pub enabled: bool,
    /// Whether users are told that a quota comes to its end.
    pub warnings: bool,
    /// Time that counts are kept.
    pub keep: TimeDelta,
}

impl Section for Settings {
    fn read(env: &mut Env) -> Self {
        env.section("Usage");
        let days = env.var("USAGE_TTL_DAYS", "Days that usage is kept").checked(90_u32, |days| (1..=3650).contains(days), "from 1 to 3650");
        Self {
            enabled: env.var("USAGE_TRACKING_ENABLED", "Count what users use; `false`: all figures are 0").or(true),
            warnings: env.var("USAGE_WARNINGS_ENABLED", "Tell users when 80 % and 100 % of a monthly quota are used").or(true),
            keep: TimeDelta::days(days.into()),
        }
    }
}
