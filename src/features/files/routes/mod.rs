//! HTTP of files: one file for what owners do, one for bytes that pass through us.

pub mod app;
pub mod public;
