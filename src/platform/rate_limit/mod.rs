//! Sliding-window rate limits: 60 sub-windows with one counter each, the same in Redis and in memory.
//!
//! A request counts against two budgets: that of its address, in front of everything, and that of its route, by user or by
//! address ([`Limits`]). Work and memory per caller are bounded, whatever the limit. A refused request uses up nothing. With Redis the count is
//! shared by all instances; while Redis is down each process counts for itself.

mod budget;
mod limiter;
mod memory;
#[cfg(feature = "redis")]
mod shared;

pub use budget::{Budget, Caller, DEFAULT, Decision, KeyedBy, Limit, Limits, Rate, Verdict, Window, network};
pub use limiter::{Config, Limiter};
