//! The lowest ring: configuration, database, HTTP, tokens, limits, logs. It depends on no other ring and no feature, so it
//! could serve any product.

pub mod actor;
pub mod auth;
pub mod cache;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod db;
pub mod email_address;
pub mod error;
pub mod http;
pub mod id;
pub mod json;
pub mod middleware;
pub mod outgoing;
pub mod output;
pub mod private_files;
pub mod rate_limit;
pub mod redis;
pub mod telemetry;
pub mod text;
pub mod usage;
