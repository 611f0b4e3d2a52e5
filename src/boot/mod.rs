//! Puts the parts together and runs them: router, middleware, accept loop, start and stop.

pub mod banner;
#[cfg(feature = "docs-ui")]
mod docs;
mod gate;
mod linger;
pub mod listener;
pub mod openapi;
pub mod router;
pub mod serve;
pub mod worker;
