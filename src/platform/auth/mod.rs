//! Authentication: verification of bearer tokens, and password hashing.
//!
//! The allowed algorithms come from the configuration, never from the token. Users, their roles in the database and their
//! permissions belong to a feature.

mod claims;
mod config;
mod jwks;
pub mod jws;
pub mod own;
pub mod passwords;
pub mod profile;
mod refusal;
mod strength;
mod token_type;
mod verifier;

pub use claims::{Claims, Role, placeholder_emails};
pub use config::{Config, KeySource, Provider};
pub use jwks::KeySet;
pub use refusal::Refusal;
pub use verifier::{Presented, Verifier};
