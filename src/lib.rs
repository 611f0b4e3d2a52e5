//! OmniStack: one binary that serves an API for users and their projects, on Postgres or SQLite.
//!
//! # Modules
//!
//! | folder | holds | may use |
//! | --- | --- | --- |
//! | [`platform`] | configuration, database, HTTP shapes, tokens, limits, logs | nothing of the others |
//! | [`providers`] | outside services: a trait for each kind, a file for each vendor | `platform` |
//! | [`app`] | the [`app::App`] that everything works with, configuration, migrations, the job queue, the hooks of a feature | those before |
//! | [`features`] | one folder for each thing the API offers: routes, rules, SQL | those before, and other features' `model` and `service` |
//! | [`boot`] | router and middleware, accept loop, OpenAPI, start and stop | those before |
//! | `fakes` | local look-alikes of vendors, if the cargo feature `fakes` is on | `platform` |
//! | [`cli`] | one file for each subcommand | all |
//!
//! A request walks: `boot::listener` → `platform::middleware` (outside in, see [`boot::router`]) →
//! `boot::gate` (limits, token, user) → a feature's `routes` → its `service` → its `store`.
//! `tests/it/architecture` holds the code to this; `docs/architecture.md` says why it is so.

// Both panic where the output is broken: `platform::output` reports it.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod boot;
pub mod cli;
#[cfg(feature = "fakes")]
pub mod fakes;
pub mod features;
pub mod platform;
pub mod providers;
