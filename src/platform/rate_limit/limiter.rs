//! Rate limiter: counts in Redis if it is configured, else in memory.

use chrono::{DateTime, Utc};

use super::budget::{Budget, Caller, DEFAULT, Decision, KeyedBy, Limit, Limits, Rate, Verdict};
use super::memory;
#[cfg(feature = "redis")]
use super::shared;
use crate::platform::config::Env;
use crate::platform::redis::Redis;

/// Name of the budget of client addresses in front of all others.
const ADDRESS: &str = "address";
/// The budget of an address as a multiple of the default budget, because several users may share an address.
const ADDRESS_FACTOR: u32 = 10;

/// The rates of all budgets.
#[derive(Debug, Clone)]
pub struct Config {
    pub enabled: bool,
    rates: Vec<(&'static str, Rate)>,
    address: Rate,
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
        let default = rates.iter().find(|(name, _)| *name == DEFAULT.name).map_or(DEFAULT.default, |(_, rate)| *rate);
        let help = "Requests per client address to all limited routes together, counted before the token is verified. \
            Behind a proxy, set TRUSTED_PROXIES";
        let address = env.var("RATE_LIMIT_ADDRESS", help).shown_default("`10 × RATE_LIMIT_DEFAULT`").or(default.times(ADDRESS_FACTOR));
        Self { enabled, rates, address }
    }

    /// Returns the budgets of a route that declares this one, with their effective rates; `None` if limits are off.
    pub fn limits(&self, budget: &Budget) -> Option<Limits> {
        let rate = self.rates.iter().find(|(name, _)| *name == budget.name).map_or(budget.default, |(_, rate)| *rate);
        self.enabled.then_some(Limits {
            address: Limit { name: ADDRESS, rate: self.address, keyed_by: KeyedBy::Address },
            route: Limit { name: budget.name, rate, keyed_by: budget.keyed_by },
        })
    }
}

/// Counts requests.
pub struct Limiter {
    memory: memory::Counters,
    /// Apart from the others, so that a flood of addresses does not push out the counters of users.
    addresses: memory::Counters,
    #[cfg(feature = "redis")]
    shared: Option<shared::Counters>,
}

impl Limiter {
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "there is no Redis in this build"))]
    pub fn new(redis: Option<Redis>) -> Self {
        Self {
            memory: memory::Counters::default(),
            addresses: memory::Counters::default(),
            #[cfg(feature = "redis")]
            shared: redis.map(shared::Counters::new),
        }
    }

    /// Counts one request against the budgets of its address and of its route, unless one of them is used up: with Redis in one
    /// round trip.
    pub async fn admit(&self, limits: &Limits, address: &Caller, caller: &Caller, now: DateTime<Utc>) -> Verdict {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared
            // Boxed, because its size would otherwise be part of every request's future, even without Redis.
            && let Some(verdict) = Box::pin(shared.admit(limits, address, caller, now)).await
        {
            return verdict;
        }
        let first = self.addresses.count(&limits.address, address, 1, now);
        if !first.allowed {
            return Verdict::AddressRefused(first);
        }
        let second = self.memory.count(&limits.route, caller, 1, now);
        if !second.allowed {
            self.addresses.give_back(&limits.address, address, now);
        }
        Verdict::Route(second)
    }

    /// Counts one request against the budget of its address alone, where the caller is not known yet. What follows is
    /// [`Limiter::hit`] for the route's budget, and [`Limiter::give_back_address`] if that refuses.
    pub async fn hit_address(&self, limits: &Limits, address: &Caller, now: DateTime<Utc>) -> Decision {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared
            && let Some(decision) = Box::pin(shared.count(&limits.address, address, 1, now)).await
        {
            return decision;
        }
        self.addresses.count(&limits.address, address, 1, now)
    }

    /// Takes back what [`Limiter::hit_address`] has counted at this time.
    pub async fn give_back_address(&self, limits: &Limits, address: &Caller, now: DateTime<Utc>) {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared
            && Box::pin(shared.give_back(&limits.address, address, now)).await
        {
            return;
        }
        self.addresses.give_back(&limits.address, address, now);
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
