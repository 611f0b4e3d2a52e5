//! Outside services: a trait for each kind, a file for each vendor.

pub mod ai;
pub mod email;
mod error;
pub mod payments;
pub mod storage;
pub mod vendor;

pub use error::{LibraryFailure, ProviderError};
