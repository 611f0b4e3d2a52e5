//! Outgoing HTTP: calls to vendors, each with time-outs, a limit on silence and on bytes, metrics, a circuit breaker, and
//! retries where a call may be repeated. [`Outgoing`] is made once; each vendor client has a [`Service`] of it.

mod answer;
mod breaker;
mod client;
mod error;

pub use answer::{Answer, Streaming};
pub use client::{Limits, Outgoing, Service};
pub use error::CallError;
