//! Rate limiter: counts in Redis if it is configured, else in memory.

use chrono::{DateTime, Utc};

use super::budget::{Budget, Caller, Decision, Limit, Rate};
use super::memory;
#[cfg(feature = "redis")]
use super::shared;
use crate::platform::config::Env;
use crate::platform::redis::Redis;

/// The rates of all budgets.
#[derive(Debug, Clone)]
pub struct Config {
    pub enabled: bool,
    rates: Vec<(&'static str, Rate)>,
}

impl Config {
    /// Reads the rate of each of these budgets; one that is named twice is read once.
    pub fn read(env: &mut Env, budgets: &[&'static Budget]) -> Self {
        env.section("Rate limits");
        let enabled = env.var("RATE_LIMIT_ENABLED", "Enable rate limits and their headers").or(true);
        if !enabled && env.environment().is_production() {
            env.warning(
                "RATE_LIMIT_ENABLED",
                "is false: callers can guess and flood as fast as they like",
                "Remove it, unless a proxy in front limits requests",
            );
        }
        let mut rates: Vec<(&'static str, Rate)> = Vec::new();
        for budget in budgets {
            if rates.iter().all(|(name, _)| *name != budget.name) {
                rates.push((budget.name, env.var(budget.variable, budget.help).or(budget.default)));
            }
        }
        Self { enabled, rates }
    }

    /// Returns the budget with its effective rate; `None` if limits are off.
    pub fn limit(&self, budget: &Budget) -> Option<Limit> {
        let rate = self.rates.iter().find(|(name, _)| *name == budget.name).map_or(budget.default, |(_, rate)| *rate);
        self.enabled.then_some(Limit { name: budget.name, rate, keyed_by: budget.keyed_by })
    }
}

/// Counts requests.
pub struct Limiter {
    memory: memory::Counters,
    #[cfg(feature = "redis")]
    shared: Option<shared::Counters>,
}

impl Limiter {
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "there is no Redis in this build"))]
    pub fn new(redis: Option<Redis>) -> Self {
        Self {
            memory: memory::Counters::default(),
            #[cfg(feature = "redis")]
            shared: redis.map(shared::Counters::new),
        }
    }

    /// Counts one request, unless the budget is used up.
    pub async fn hit(&self, limit: &Limit, caller: &Caller, now: DateTime<Utc>) -> Decision {
        self.count(limit, caller, 1, now).await
    }

    /// Returns what [`Limiter::hit`] would decide, and counts nothing.
    pub async fn peek(&self, limit: &Limit, caller: &Caller, now: DateTime<Utc>) -> Decision {
        self.count(limit, caller, 0, now).await
    }

    /// Resets the counter, which restores the whole budget.
    pub async fn forget(&self, limit: &Limit, caller: &Caller) {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            shared.forget(limit, caller).await;
        }
        self.memory.forget(limit, caller);
    }

    async fn count(&self, limit: &Limit, caller: &Caller, by: u32, now: DateTime<Utc>) -> Decision {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared
            // Boxed, because its size would otherwise be part of every request's future, even without Redis.
            && let Some(decision) = Box::pin(shared.count(limit, caller, by, now)).await
        {
            return decision;
        }
        self.memory.count(limit, caller, by, now)
    }
}
