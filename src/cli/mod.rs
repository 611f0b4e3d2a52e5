//! The command line: one file for each subcommand; `serve` where none is given.

mod billing;
mod config;
mod doctor;
#[cfg(feature = "fakes")]
mod fake_vendors;
mod jobs;
mod migrate;
mod openapi;
pub mod routes;
mod secret;
mod seed;
mod serve;
mod setup;
mod token;
mod users;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::platform::output;

/// The OmniStack server and its tools.
#[derive(Parser)]
#[command(name = "omnistack", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (the default).
    Serve,
    /// Run jobs and schedules, and serve nothing.
    Worker,
    /// Apply pending migrations.
    Migrate(migrate::Args),
    /// Print the OpenAPI document of a version.
    Openapi(openapi::Args),
    /// List every route: method, path, access, rate limit.
    Routes(routes::Args),
    /// Print an access token for a user (not in production).
    Token(token::Args),
    /// Create a demonstration user, an administrator and some data (not in production).
    Seed(seed::Args),
    /// Create, list, promote, deactivate and erase users.
    Users(users::Args),
    /// List, run, retry and cancel jobs.
    Jobs(jobs::Args),
    /// Compare a user's subscriptions with their vendors.
    Billing(billing::Args),
    /// Start a local look-alike of Stripe, to try purchases without an account (not in production).
    #[cfg(feature = "fakes")]
    FakeVendors(fake_vendors::Args),
    /// Show the configuration in force, secrets masked.
    Config(config::Args),
    /// Check configuration, database, migrations, Redis, clock, folders, vendors and the running server.
    Doctor,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command.unwrap_or(Command::Serve),
        Err(asked) => return usage(&asked),
    };
    // Fails only where a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match command {
        Command::Openapi(args) => openapi::run(&args),
        Command::Routes(args) => routes::run(&args),
        Command::Config(args) => config::run(&args),
        other => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(run(other)),
            Err(error) => Err(error.into()),
        },
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            output::error(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints help, version or what is wrong with the arguments.
fn usage(asked: &clap::Error) -> ExitCode {
    let printed = asked.print().and_then(|()| std::io::stdout().flush());
    if asked.use_stderr() {
        return ExitCode::from(2);
    }
    if let Err(error) = printed {
        output::error(format_args!("error: standard output cannot be written: {error}"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Migrate(args) => migrate::run(&args).await,
        Command::Token(args) => token::run(&args).await,
        Command::Seed(args) => seed::run(&args).await,
        Command::Users(args) => users::run(&args).await,
        Command::Jobs(args) => jobs::run(&args).await,
        Command::Billing(args) => billing::run(&args).await,
        #[cfg(feature = "fakes")]
        Command::FakeVendors(args) => fake_vendors::run(&args).await,
        Command::Doctor => doctor::run().await,
        Command::Worker => worker::run().await,
        _ => serve::run().await,
    }
}
