//! Budgets, rates and windows: the data of rate limits, and its arithmetic.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::platform::config::Value;
use crate::platform::id::UserId;

/// Sub-windows of a window.
pub(super) const SLOTS: u64 = 60;

/// A rate-limit budget, declared by the feature whose routes share it. One budget is one counter for each caller, whatever the
/// path.
#[derive(Debug)]
pub struct Budget {
    /// Part of the counter's key, and the label `class` in metrics.
    pub name: &'static str,
    /// The variable that sets its rate.
    pub variable: &'static str,
    pub help: &'static str,
    pub default: Rate,
    pub keyed_by: KeyedBy,
}

/// The key of a budget's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyedBy {
    /// The verified user, else the client's address.
    Caller,
    /// Always the client's address, whatever token is sent.
    Address,
}

/// The budget of every route that declares no other.
pub static DEFAULT: Budget = Budget {
    name: "default",
    variable: "RATE_LIMIT_DEFAULT",
    help: "Requests per user or address, `<n>/<second|minute|hour|day>`",
    default: Rate { limit: 60, window: Window::MINUTE },
    keyed_by: KeyedBy::Caller,
};

/// A budget with its effective rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub name: &'static str,
    pub rate: Rate,
    pub keyed_by: KeyedBy,
}

/// The budgets that a request of a limited route counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The budget of the client's address, shared by everything that this address sends. It keeps one address from multiplying
    /// its budget with accounts, and refuses before any work is done for a token.
    pub address: Limit,
    /// The budget of the route.
    pub route: Limit,
}

/// The outcome for one request that counts against both [`Limits`]. A refused request uses up neither of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The budget of the address is used up.
    AddressRefused(Decision),
    /// The decision of the route's budget.
    Route(Decision),
}

/// The key of one counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    User(UserId),
    Address(IpAddr),
    /// Any other key, by its hash.
    Hashed([u8; 32]),
}

impl Caller {
    pub fn address(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    /// `user` or `ip`, as metrics name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Address(_) | Self::Hashed(_) => "ip",
        }
    }
}

/// The address as a counter's key. An IPv6 address counts as its /64, the smallest network that a customer gets.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        IpAddr::V4(v4) => IpAddr::V4(v4),
    }
}

/// A number of requests per window, written `60/minute`.
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

    /// The windows that a variable can name.
    const NAMED: [(Self, &str); 4] = [(Self::SECOND, "second"), (Self::MINUTE, "minute"), (Self::HOUR, "hour"), (Self::DAY, "day")];

    pub(super) fn micros(self) -> i64 {
        self.0 * 1_000_000
    }

    /// The sub-window that a moment lies in, counted from the Unix epoch.
    pub(super) fn index(self, now: DateTime<Utc>) -> u64 {
        let index = i128::from(now.timestamp_micros()) * i128::from(SLOTS) / i128::from(self.micros());
        u64::try_from(index).unwrap_or(0)
    }

    /// When a sub-window leaves the window, in microseconds since the epoch.
    pub(super) fn leaves(self, index: u64) -> i64 {
        let micros = (i128::from(index) + i128::from(SLOTS)) * i128::from(self.micros());
        i64::try_from((micros + i128::from(SLOTS) - 1) / i128::from(SLOTS)).unwrap_or(i64::MAX)
    }
}

impl Rate {
    /// The time between two requests that are spread evenly over the window.
    pub fn interval(self) -> Duration {
        Duration::from_secs(self.window.0.unsigned_abs()) / self.limit.max(1)
    }

    /// The same window with this many times the requests.
    pub(super) fn times(self, factor: u32) -> Self {
        Self { limit: self.limit.saturating_mul(factor), ..self }
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
    pub(super) fn new(rate: Rate, allowed: bool, total: u64, oldest: u64, now: DateTime<Utc>) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_parse_rejects_other_forms() {
        assert_eq!(Rate::parse("60/minute").unwrap().show(), "60/minute");
        for wrong in ["60", "0/minute", "-1/minute", "60/week", "x/minute", "60/minutes", ""] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn caller_ipv6_counts_by_network() {
        let address = |text: &str| Caller::address(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
    }
}
