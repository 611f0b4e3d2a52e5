//! Sliding-window rate limits: 60 sub-windows with one counter each, the same in Redis and in memory.
//!
//! Work and memory per caller are constant, whatever the limit. A refused request uses up nothing. With
//! Redis the count is shared by all instances; while Redis is down each process counts for itself.

mod memory;
#[cfg(feature = "redis")]
mod shared;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::platform::config::{Env, Section, Value};
use crate::platform::redis::Redis;
use crate::platform::{crypto, text};

/// Sub-windows of a window.
const SLOT_COUNT: usize = 60;
const SLOTS: u64 = SLOT_COUNT as u64;

/// A budget that several routes share, or that no route has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    Default,
    Ai,
    Auth,
    Webhook,
    /// Wrong passwords.
    Guess,
}

impl Class {
    /// The class of a route, by the prefix of its template.
    pub fn of(template: &str) -> Self {
        let under = |prefix: &str| template.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if under("/api/v1/app/ai") {
            Self::Ai
        } else if under("/api/v1/public/auth") && template != "/api/v1/public/auth/config" {
            Self::Auth
        } else if under("/api/v1/public/webhooks") {
            Self::Webhook
        } else {
            Self::Default
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Ai => "ai",
            Self::Auth => "auth",
            Self::Webhook => "webhook",
            Self::Guess => "guess",
        }
    }
}

/// Whose budget it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    User(Arc<str>),
    Address(IpAddr),
    /// An account as somebody at one address tries it; a hash of the two.
    Attempt([u8; 32]),
}

impl Caller {
    pub fn address(address: IpAddr) -> Self {
        Self::Address(customer(address))
    }

    /// Whoever is at `client` and tries the account with this address, in whichever way it is written.
    pub fn attempt(email: &str, client: IpAddr) -> Self {
        Self::Attempt(crypto::hash(&[text::fold_email(email).as_bytes(), customer(client).to_string().as_bytes()]))
    }

    /// `user` or `ip`, as metrics name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Address(_) | Self::Attempt(_) => "ip",
        }
    }
}

/// IPv6 callers are told apart by their /64: that is what one customer gets.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        IpAddr::V4(v4) => IpAddr::V4(v4),
    }
}

/// So many requests per window, written `60/minute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub limit: u32,
    pub window: Window,
}

/// A length of time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(i64);

impl Window {
    pub const SECOND: Self = Self(1);
    pub const MINUTE: Self = Self(60);
    pub const QUARTER_HOUR: Self = Self(900);
    pub const HOUR: Self = Self(3600);
    pub const DAY: Self = Self(86_400);

    /// Those that a variable can name.
    const NAMED: [(Self, &str); 4] = [(Self::SECOND, "second"), (Self::MINUTE, "minute"), (Self::HOUR, "hour"), (Self::DAY, "day")];

    fn micros(self) -> i64 {
        self.0 * 1_000_000
    }

    /// The sub-window that a moment lies in, counted from the Unix epoch.
    fn index(self, now: DateTime<Utc>) -> u64 {
        let index = i128::from(now.timestamp_micros()) * i128::from(SLOTS) / i128::from(self.micros());
        u64::try_from(index).unwrap_or(0)
    }

    /// When a sub-window leaves the window, in microseconds since the epoch.
    fn leaves(self, index: u64) -> i64 {
        let micros = (i128::from(index) + i128::from(SLOTS)) * i128::from(self.micros());
        i64::try_from((micros + i128::from(SLOTS) - 1) / i128::from(SLOTS)).unwrap_or(i64::MAX)
    }
}

impl Value for Rate {
    fn parse(text: &str) -> Result<Self, String> {
        let wants = || "<n>/<second|minute|hour|day> with n ≥ 1, such as 60/minute".to_owned();
        let (limit, window) = text.split_once('/').ok_or_else(wants)?;
        let limit = limit.trim().parse().ok().filter(|n| *n >= 1).ok_or_else(wants)?;
        let (window, _) = Window::NAMED.into_iter().find(|(_, name)| *name == window.trim()).ok_or_else(wants)?;
        Ok(Self { limit, window })
    }

    fn show(&self) -> String {
        let name = Window::NAMED.iter().find(|(window, _)| *window == self.window).map_or("minute", |(_, name)| name);
        format!("{}/{name}", self.limit)
    }
}

/// Wrong passwords for one account from one client address.
const GUESSES: Rate = Rate { limit: 10, window: Window::QUARTER_HOUR };

/// The rates of all classes.
#[derive(Debug, Clone)]
pub struct Config {
    pub enabled: bool,
    pub default: Rate,
    pub ai: Rate,
    pub auth: Rate,
    pub webhook: Rate,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Rate limits");
        let per_minute = |limit| Rate { limit, window: Window::MINUTE };
        Self {
            enabled: env.var("RATE_LIMIT_ENABLED", "Turns rate limits and their headers off").or(true),
            default: env.var("RATE_LIMIT_DEFAULT", "Requests per caller, `<n>/<second|minute|hour|day>`").or(per_minute(60)),
            ai: env.var("RATE_LIMIT_AI", "The same for paths under /api/v1/app/ai").or(per_minute(10)),
            auth: env.var("RATE_LIMIT_AUTH", "The same for paths under /api/v1/public/auth").or(per_minute(5)),
            webhook: env.var("RATE_LIMIT_WEBHOOK", "The same for paths under /api/v1/public/webhooks").or(per_minute(600)),
        }
    }
}

/// The outcome for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub limit: u32,
    /// Requests left after this one.
    pub remaining: u32,
    /// Unix seconds at which the oldest counted request leaves the window.
    pub reset: i64,
    /// Whole seconds until then, at least 1.
    pub retry_after: u64,
}

impl Decision {
    /// `total` counts the window's requests, this one included if it was allowed.
    fn new(rate: Rate, allowed: bool, total: u64, oldest: u64, now: DateTime<Utc>) -> Self {
        let leaves = rate.window.leaves(oldest);
        let wait = u64::try_from(leaves - now.timestamp_micros()).unwrap_or(0).div_ceil(1_000_000);
        Self {
            allowed,
            limit: rate.limit,
            remaining: u32::try_from(u64::from(rate.limit).saturating_sub(total)).unwrap_or(0),
            reset: leaves.div_euclid(1_000_000) + i64::from(leaves.rem_euclid(1_000_000) > 0),
            retry_after: wait.max(1),
        }
    }
}

/// Counts requests.
pub struct Limiter {
    config: Config,
    memory: memory::Counters,
    #[cfg(feature = "redis")]
    shared: Option<shared::Counters>,
}

impl Limiter {
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "there is no Redis in this build"))]
    pub fn new(config: Config, redis: Option<Redis>) -> Self {
        Self {
            config,
            memory: memory::Counters::default(),
            #[cfg(feature = "redis")]
            shared: redis.map(shared::Counters::new),
        }
    }

    /// Counts one request against the caller's budget; `None` where limits are off.
    pub async fn hit(&self, class: Class, caller: Caller, now: DateTime<Utc>) -> Option<Decision> {
        if !self.config.enabled {
            return None;
        }
        let rate = match class {
            Class::Default => self.config.default,
            Class::Ai => self.config.ai,
            Class::Auth => self.config.auth,
            Class::Webhook => self.config.webhook,
            Class::Guess => GUESSES,
        };
        Some(self.count(rate, class, caller, 1, now).await)
    }

    /// Whether the attempt may still be made, or how long to wait. Counts nothing. Holds whether or not limits are on.
    pub async fn check_guesses(&self, attempt: Caller, now: DateTime<Utc>) -> Decision {
        self.count(GUESSES, Class::Guess, attempt, 0, now).await
    }

    /// Counts a wrong password; not allowed where there were too many before it.
    pub async fn count_guess(&self, attempt: Caller, now: DateTime<Utc>) -> Decision {
        self.count(GUESSES, Class::Guess, attempt, 1, now).await
    }

    /// Forgets the wrong passwords of somebody who has shown by other means that the account is theirs.
    pub async fn forget_guesses(&self, attempt: Caller) {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            shared.forget(Class::Guess, &attempt).await;
        }
        self.memory.forget(Class::Guess, attempt);
    }

    /// Counts `by` (0 or 1) requests.
    async fn count(&self, rate: Rate, class: Class, caller: Caller, by: u32, now: DateTime<Utc>) -> Decision {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared
            && let Some(decision) = shared.count(rate, class, &caller, by, now).await
        {
            return decision;
        }
        self.memory.count(rate, class, caller, by, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_one_form() {
        assert_eq!(Rate::parse("60/minute").unwrap().show(), "60/minute");
        for wrong in ["60", "0/minute", "-1/minute", "60/week", "x/minute", "60/minutes", ""] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn classes_go_by_whole_path_segments() {
        assert_eq!(Class::of("/api/v1/app/ai/chat"), Class::Ai);
        assert_eq!(Class::of("/api/v1/app/aircraft"), Class::Default);
        assert_eq!(Class::of("/api/v1/public/auth/login"), Class::Auth);
        assert_eq!(Class::of("/api/v1/public/auth/config"), Class::Default);
    }

    #[test]
    fn one_ipv6_customer_is_one_caller() {
        let address = |text: &str| Caller::address(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
    }
}
