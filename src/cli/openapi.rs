//! `omnistack openapi`

use std::process::ExitCode;

use crate::boot::router;
use crate::features;
use crate::platform::config::Env;
use crate::platform::output;

pub fn run() -> anyhow::Result<ExitCode> {
    // The document takes only the title from the configuration; an invalid configuration must not stop a build.
    let name = Env::from_process().var("PROJECT_NAME", "").optional().unwrap_or_else(|| "OmniStack API".to_owned());
    output::line(router::api(&features::all(), &name).to_pretty_json()?)?;
    Ok(ExitCode::SUCCESS)
}
