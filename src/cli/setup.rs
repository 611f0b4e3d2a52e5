//! Common setup of subcommands: configuration, application, up-to-date database.

use anyhow::Context;

use crate::app::config::{Config, Loaded};
use crate::app::{App, migrate};
use crate::features;
use crate::platform::clock::Clock;
use crate::platform::config::{Choice, Env};
use crate::platform::error::Error;
use crate::platform::telemetry::logs::{self, Service};

/// Returns the configuration; the error lists all problems.
pub fn load() -> anyhow::Result<Loaded> {
    Config::load(Env::from_process(), &features::all()).map_err(|found| {
        let lines: Vec<String> = found.problems.iter().map(|problem| format!("  {problem}")).collect();
        anyhow::anyhow!("the configuration has {} problem(s)\n{}", lines.len(), lines.join("\n"))
    })
}

/// Turns the error envelope's parts into one line for a terminal.
pub fn explained(error: Error) -> anyhow::Error {
    match error {
        Error::Invalid(problems) => {
            let words: Vec<_> = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
            anyhow::anyhow!(words.join("; "))
        }
        Error::Internal(cause) => cause,
        other => other.into(),
    }
}

/// Applies pending migrations, for a command that may be the first to touch the database.
pub async fn bring_up_to_date(app: &App) -> anyhow::Result<()> {
    let url = app.config.database.url.as_ref().context("DATABASE_URL is not set")?;
    migrate::run(&app.db, url, &app.features, false).await?;
    Ok(())
}

/// The application, for a command that only works on the database; warnings and authentication events go to standard error.
/// Blocking: the first start makes the secret key.
pub async fn app() -> anyhow::Result<App> {
    let config = load()?.config;
    logs::init_for_command(service(&config));
    App::new(config.with_secret()?, Clock::System, features::all()).await
}

/// The fields about the process in log lines.
pub fn service(config: &Config) -> Service {
    let core = &config.core;
    Service { name: core.project_name.clone(), environment: core.environment.name(), json: core.environment.is_production() }
}
