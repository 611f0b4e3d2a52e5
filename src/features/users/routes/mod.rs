//! HTTP of users: one file for what users do, one for what administrators do.

pub mod admin;
pub mod me;
