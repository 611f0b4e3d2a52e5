//! Apple's App Store: verification of what it signs, and its server API.

mod api;
mod chain;
mod config;
mod verifier;

pub use api::{AppStore, Held};
pub use config::{ApiKey, Config, Environment};
pub use verifier::Verifier;
