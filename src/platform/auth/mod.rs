//! Who is calling: verification of bearer tokens, and hashes of passwords.
//!
//! Which algorithms are allowed comes from the configuration, never from the token. Users, their roles in the database and
//! what they may do belong to a feature.

mod claims;
mod config;
mod jwks;
pub mod own;
pub mod passwords;
mod refusal;
mod verifier;

pub use claims::{Claims, Role};
pub use config::{Config, KeySource, Provider};
pub use refusal::Refusal;
pub use verifier::Verifier;
