//! The process: router and middleware, OpenAPI document, accept loop, start and stop.

pub mod banner;
#[cfg(feature = "docs-ui")]
mod docs;
mod gate;
mod lingering_close;
pub mod listener;
pub mod openapi;
mod pipeline;
mod route_state;
pub mod router;
pub mod serve;
mod signals;
mod startup;
pub mod worker;
