//! `omnistack openapi`: the document of one version of the API.

use std::process::ExitCode;

use clap::Args as Arguments;

use crate::boot::{openapi, router};
use crate::features;
use crate::platform::config::Env;
use crate::platform::http::Version;
use crate::platform::output;

#[derive(Arguments)]
pub struct Args {
    /// The version of the API.
    #[arg(long, default_value = "v1", value_parser = version)]
    api_version: Version,
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| format!("one of {}", Version::names()))
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // The document takes only its title and address from the configuration; an invalid configuration must not stop a build.
    let mut env = Env::from_process();
    let name = env.var("PROJECT_NAME", "").optional().unwrap_or_else(|| "OmniStack API".to_owned());
    let mut api = router::api(&features::all(), args.api_version, &name);
    api.servers = openapi::servers(env.var("PUBLIC_BASE_URL", "").optional().as_ref());
    output::line(api.to_pretty_json()?)?;
    Ok(ExitCode::SUCCESS)
}
