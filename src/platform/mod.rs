//! The ring that knows nothing above it: configuration, database, HTTP shapes, tokens, limits, logs.
//! Everything here could serve any product; what is ours alone lives in `features`.

pub mod auth;
pub mod cache;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod db;
pub mod error;
pub mod http;
pub mod id;

pub mod middleware;
pub mod rate_limit;
pub mod redis;
pub mod telemetry;
pub mod text;
