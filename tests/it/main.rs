//! The tests of the whole server, in one binary: every further one would link it all again.
//!
//! Stories go through HTTP and run on SQLite and on Postgres (`harness`). A file in `features/` is picked up
//! by its name alone; cargo notices a new one once this file is touched.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod architecture;
mod auth;
mod contract;
mod database;
#[macro_use]
mod harness;
mod jobs;
mod limits;
mod observability;
mod outages;
mod process;
mod providers;

/// One file for each feature.
mod features {
    automod::dir!("tests/it/features");
}
