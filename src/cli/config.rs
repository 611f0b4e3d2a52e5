//! `omnistack config`: the configuration in force, and the texts made from it for the repository.

use std::process::ExitCode;

use clap::Args as Arguments;

use super::setup;
use crate::app::config::Config;
use crate::features;
use crate::platform::config::{Env, env_example, markdown, values_table};
use crate::platform::output;

#[derive(Arguments)]
pub struct Args {
    /// Print `.env.example`.
    #[arg(long, conflicts_with = "markdown")]
    env_example: bool,
    /// Print the tables of `docs/configuration.md`.
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.env_example || args.markdown {
        // What can be set does not depend on what is set.
        let notes = match Config::load(Env::from_vars([]), &features::all()) {
            Ok(loaded) => loaded.notes,
            Err(found) => found.notes,
        };
        output::print(if args.markdown { markdown(&notes) } else { env_example(&notes) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = setup::load()?;
    output::print(values_table(&loaded.notes))?;
    for warning in loaded.warnings {
        output::line(format_args!("warning: {warning}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
