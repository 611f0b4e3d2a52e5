//! The command line: one file for each subcommand; `serve` where none is given.

mod config;
mod doctor;
mod jobs;
mod migrate;
mod openapi;
mod routes;
mod seed;
mod serve;
mod token;
mod users;
mod worker;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::app::App;
use crate::app::config::{Config, Loaded};
use crate::features;
use crate::platform::clock::Clock;
use crate::platform::config::Env;
use crate::platform::error::Error;

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
    /// Bring the database up to date.
    Migrate(migrate::Args),
    /// Print the OpenAPI document.
    Openapi,
    /// List every route: method, path, zone, limits.
    Routes(routes::Args),
    /// Print an access token for a user (not in production).
    Token(token::Args),
    /// Make a demonstration user, an administrator and some data (not in production).
    Seed(seed::Args),
    /// Make, list, promote, deactivate and erase users.
    Users(users::Args),
    /// List, run, retry and cancel jobs.
    Jobs(jobs::Args),
    /// Show the configuration in force, secrets masked.
    Config(config::Args),
    /// Check configuration, database, migrations, Redis, clock and folders.
    Doctor,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or(Command::Serve);
    // Fails only where one is installed already, which does as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match command {
        Command::Openapi => openapi::run(),
        Command::Routes(args) => Ok(routes::run(&args)),
        Command::Config(args) => config::run(&args),
        other => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(run(other)),
            Err(error) => Err(error.into()),
        },
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Migrate(args) => migrate::run(&args).await,
        Command::Token(args) => token::run(&args).await,
        Command::Seed(args) => seed::run(&args).await,
        Command::Users(args) => users::run(&args).await,
        Command::Jobs(args) => jobs::run(&args).await,
        Command::Doctor => doctor::run().await,
        Command::Worker => worker::run().await,
        _ => serve::run().await,
    }
}

/// The configuration, or every problem with it on standard error.
fn load() -> anyhow::Result<Loaded> {
    Config::load(Env::from_process()).map_err(|found| {
        let lines: Vec<String> = found.problems.iter().map(|problem| format!("  {problem}")).collect();
        anyhow::anyhow!("the configuration has {} problem(s)\n{}", lines.len(), lines.join("\n"))
    })
}

/// A refusal says which member of a body is wrong and how; a person at a terminal wants the words.
fn explained(error: Error) -> anyhow::Error {
    match error {
        Error::Invalid(problems) => {
            let words: Vec<_> = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
            anyhow::anyhow!(words.join("; "))
        }
        other => other.into(),
    }
}

/// Applies what is pending, for a command that may be the first to touch the database.
async fn bring_up_to_date(app: &App) -> anyhow::Result<()> {
    let url = app.config.database.url.as_ref().context("DATABASE_URL is not set")?;
    crate::app::migrate::run(&app.db, url, &features::after_migrations(), false).await?;
    Ok(())
}

/// The service for a command that only works on the database. Blocking for the secret key of a first start.
async fn app() -> anyhow::Result<App> {
    App::new(load()?.config.with_secret()?, Clock::System, features::all()).await
}
