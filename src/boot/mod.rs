//! The process: router and middleware, OpenAPI document, accept loop, start and stop.

mod background;
pub mod banner;
mod connection;
pub mod diagnosis;
#[cfg(feature = "docs-ui")]
mod docs;
mod early_answer;
mod gate;
pub mod listener;
pub mod openapi;
mod peers;
mod pipeline;
mod route_state;
pub mod router;
pub mod serve;
pub mod signals;
mod socket;
mod startup;
mod unwritten;
pub mod worker;
