//! Stripe: settings, calls to its API, and signatures of its webhooks (<https://docs.stripe.com/api>).
//!
//! Requests are those of `async-stripe`; our own client sends them. Answers stay JSON, read by small functions ([`read`]),
//! because strict types refuse an object whose shape changed
//! ([async-stripe#347](https://github.com/arlyon/async-stripe/issues/347)).

#[cfg(feature = "stripe")]
mod calls;
#[cfg(feature = "stripe")]
mod client;
mod config;
mod error;
mod model;
pub mod read;
mod signature;
#[cfg(not(feature = "stripe"))]
mod without;

#[cfg(feature = "stripe")]
pub use client::{Operation, Stripe};
pub use config::Config;
pub use error::StripeError;
pub use model::{MeterEvent, MeterSpan, NewCheckout, NewCustomer, Reply};
pub use signature::{SIGNATURE, Signature};
#[cfg(not(feature = "stripe"))]
pub use without::{Operation, Stripe};

/// Name of the service in errors, metrics and logs.
pub const NAME: &str = "stripe";
/// Version of the API, which decides the shape of requests and answers. Webhook endpoints should have the same one.
pub const API_VERSION: &str = "2026-09-30.endive";
