//! Setting of plan quotas.

use crate::platform::config::Env;

#[derive(Debug, Clone)]
pub struct Settings {
    pub enabled: bool,
}

impl Settings {
    pub fn read(env: &mut Env) -> Self {
        env.section("Plan limits");
        Self { enabled: env.var("PLAN_LIMITS_ENABLED", "Enforce the quotas of plans; `false`: no limits, no headers, no counts").or(true) }
    }
}
