//! Integration tests of the whole server, in one binary, because each further binary links everything again.
//!
//! Most tests send HTTP requests and run on SQLite and on Postgres (see `harness`). Every file in `features/` becomes
//! a module automatically; cargo compiles a new file only after this file has changed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod architecture;
mod auth;
mod connections;
mod contract;
mod database;
mod diagnosis;
#[cfg(feature = "fakes")]
mod fakes;
#[macro_use]
mod harness;
mod jobs;
mod limits;
mod limits_address;
mod observability;
mod outages;
mod process;
mod providers;
mod sample;

/// Tests of each feature, one file per area.
mod features {
    automod::dir!("tests/it/features");
}
