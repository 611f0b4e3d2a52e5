//! `omnistack jobs list | run | retry | cancel`

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args as Arguments, Subcommand};
use serde_json::Value;

use super::{secret, setup};
use crate::app::App;
use crate::app::jobs::model::{JobId, JobRow, Status};
use crate::app::jobs::operator;
use crate::platform::output;
use crate::platform::text::cut;

#[derive(Arguments)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The newest jobs; secrets in their arguments are masked.
    List {
        /// `deferred`, `queued`, `in_progress`, `complete`, `failed` or `cancelled`.
        #[arg(long, value_parser = status)]
        status: Option<Status>,
        /// From 1 to 1000.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
    },
    /// The functions that can be run.
    Functions,
    /// Run a function here and now, and show its result.
    Run {
        function: String,
        /// Its arguments, as a JSON object; `-` reads them from standard input. Secrets, such as `reset_link`, are refused on the
        /// command line, which is visible to other users of the machine; at a terminal they are asked for.
        #[arg(default_value = "{}")]
        arguments: String,
    },
    /// Put a failed or cancelled job into the queue again, as a new one.
    Retry { id: String },
    /// Cancel a waiting or running job.
    Cancel { id: String },
}

fn status(text: &str) -> Result<Status, String> {
    let names = || Status::ALL.map(Status::name).join(", ");
    Status::ALL.into_iter().find(|status| status.name() == text).ok_or_else(|| format!("must be one of {}", names()))
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let app = setup::app().await?;
    let code = act(&app, &args.command).await?;
    app.close().await;
    Ok(code)
}

async fn act(app: &App, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { status, limit } => {
            let (rows, total) = app.jobs.page(&app.db, *status, *limit, 0).await?;
            for row in &rows {
                output::line(line(app, row))?;
            }
            output::line(format_args!("{} of {total} jobs", rows.len()))?;
        }
        Command::Functions => output::line(app.jobs.catalog().names().join("\n"))?,
        Command::Run { function, arguments } => {
            let payload = payload(app, function, arguments)?;
            let (id, outcome) = operator::run(app.clone(), &app.code, &app.jobs, &app.db, function, payload).await?;
            match outcome {
                Ok(result) => output::line(serde_json::to_string_pretty(&result)?)?,
                Err(reason) => anyhow::bail!("job {id} failed: {reason}"),
            }
        }
        Command::Retry { id } => output::line(app.jobs.retry(&app.db, parse(id)?).await?)?,
        Command::Cancel { id } => match app.jobs.cancel(&app.db, parse(id)?).await? {
            Status::Cancelled => output::line("cancelled")?,
            _ => output::line("its worker will end it within seconds")?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the arguments of a function. Its secrets come from standard input, or are asked for.
fn payload(app: &App, function: &str, arguments: &str) -> anyhow::Result<Value> {
    if arguments == "-" {
        return serde_json::from_reader(std::io::stdin().lock()).context("standard input holds no JSON");
    }
    let mut payload: Value = serde_json::from_str(arguments).context("the arguments are not JSON")?;
    let Some(members) = payload.as_object_mut() else { return Ok(payload) };
    for name in app.jobs.catalog().secrets(function) {
        anyhow::ensure!(
            !members.contains_key(*name),
            "{name} is a secret, and {}. Give `-` in place of the arguments, and pipe them in",
            secret::REFUSED
        );
        if secret::can_ask() {
            let secret = secret::ask(name)?;
            if !secret.is_empty() {
                members.insert((*name).to_owned(), secret.into());
            }
        }
    }
    Ok(payload)
}

fn parse(id: &str) -> anyhow::Result<JobId> {
    JobId::parse(id).with_context(|| format!("{id} is no job's id"))
}

fn line(app: &App, row: &JobRow) -> String {
    let payload = app.jobs.catalog().shown(&row.function, &row.kwargs).to_string();
    let error = row.error.as_deref().map(|error| format!("  {}", cut(&error.replace(char::is_control, " "), 120))).unwrap_or_default();
    let time = row.finish_time.or(row.start_time).unwrap_or(row.run_at).format("%Y-%m-%d %H:%M:%S");
    format!(
        "{}  {:11} {}/{}  {time}  {} {}{error}",
        row.id,
        row.status().name(),
        row.attempts,
        row.max_attempts,
        row.function,
        cut(&payload, 120)
    )
}
