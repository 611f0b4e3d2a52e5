//! Outgoing calls: HTTP with time-outs, limits on silence and on bytes, and metrics; retries where a call may be repeated,
//! cool-downs, and a circuit breaker. [`Outgoing`] is made once; each vendor client has a [`Service`] of it.
//!
//! `docs/resilience.md` tells how the parts work together.

mod answer;
mod breaker;
mod client;
mod cooldown;
mod error;
pub mod event_stream;
pub mod retry;
mod vendors;

pub use answer::{Answer, Streaming};
pub use breaker::{Attempt, BreakerState};
pub use client::{Failure, Limits, Outgoing, Service};
pub use error::CallError;
pub use retry::{Repeatable, Retry, repeat};
pub use vendors::{AccountProblem, VendorState};
