//! Durable job queue (transactional outbox, at-least-once delivery), in the table `jobs`.
//!
//! [`Queue::enqueue`] writes a row, inside the caller's transaction where there is one: a job exists if and only if the change
//! it belongs to was committed. A [`worker::Worker`] claims and runs the rows. Nothing here knows the application: jobs are
//! generic over it ([`Job<A>`](Job)).

mod backoff;
pub mod config;
mod fail;
mod job;
mod metrics;
pub mod model;
pub mod operator;
mod queue;
mod registry;
mod schedules;
mod store;
pub mod worker;

pub use config::Config;
pub use fail::Fail;
pub use job::Job;
pub use model::{JobId, New, Run};
pub use queue::Queue;
pub use registry::{Catalog, Code, Registry};
pub use schedules::Schedules;
