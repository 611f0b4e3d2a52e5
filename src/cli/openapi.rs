//! `omnistack openapi`

use std::process::ExitCode;

use crate::boot::{openapi, router};
use crate::features;
use crate::platform::config::Env;
use crate::platform::output;

pub fn run() -> anyhow::Result<ExitCode> {
    // The document takes only its title and address from the configuration; an invalid configuration must not stop a build.
    let mut env = Env::from_process();
    let name = env.var("PROJECT_NAME", "").optional().unwrap_or_else(|| "OmniStack API".to_owned());
    let mut api = router::api(&features::all(), &name);
    api.servers = openapi::servers(env.var("PUBLIC_BASE_URL", "").optional().as_ref());
    output::line(api.to_pretty_json()?)?;
    Ok(ExitCode::SUCCESS)
}
