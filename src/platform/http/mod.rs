//! HTTP as our handlers speak it: route records, extractors with our errors, lists, cursors, repeated requests.

pub mod cursor;
pub mod idempotency;
mod json;
pub mod list;
mod path;
mod query;
pub mod route;
pub mod shape;

pub use json::{BodyLimit, Json, KeyedJson, present};
pub use path::PathParam;
pub use query::Query;
pub use route::{Route, Routes, Zone};
