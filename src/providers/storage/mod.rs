//! File storage. [`Storage`] is what the rest of the server uses; a vendor is one file or folder here, its `mod` line and its
//! line in [`VENDORS`].
//!
//! Clients send and fetch bytes by presigned requests that are valid for an hour. Only the local folder passes them through
//! the server.

#[cfg(feature = "s3")]
mod bucket;
mod cloudinary;
pub mod config;
pub mod disposition;
mod local;
pub mod local_store;
mod local_upload;
pub mod media_type;
pub mod object;
pub mod provider;
mod r2;
mod s3;
mod service;
mod upstream;

use super::vendor::Vendor;
use provider::StorageProvider;

pub use config::Config;
pub use service::Storage;
pub use upstream::upstream;

/// Every vendor; the first is the default.
#[rustfmt::skip] // One line each: a vendor is removed with its lines.
pub static VENDORS: &[&Vendor<dyn StorageProvider>] = &[
    &local::VENDOR,
    &s3::VENDOR,
    &r2::VENDOR,
    &cloudinary::VENDOR,
];
