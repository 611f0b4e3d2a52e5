//! `omnistack serve`

use std::process::ExitCode;

use super::setup;
use crate::app::App;
use crate::app::config::Loaded;
use crate::platform::clock::Clock;
use crate::platform::telemetry::logs;
use crate::{boot, features};

pub async fn run() -> anyhow::Result<ExitCode> {
    let (app, _logs) = start().await?;
    boot::serve::serve(app).await?;
    Ok(ExitCode::SUCCESS)
}

/// The service and its log, for a long-running command; dropping the log guard writes the last lines.
pub(super) async fn start() -> anyhow::Result<(App, impl Drop + use<>)> {
    let loaded = setup::load()?;
    let logs = log(&loaded);
    Ok((App::new(loaded.config.with_secret()?, Clock::System, features::all()).await?, logs))
}

/// Starts the log of a long-running process, and logs the configuration's warnings.
fn log(loaded: &Loaded) -> impl Drop + use<> {
    let telemetry = &loaded.config.telemetry;
    let guard = logs::init(setup::service(&loaded.config), telemetry.level, telemetry.debug);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    for warning in &loaded.warnings {
        tracing::warn!(variable = warning.variable, "{} {}", warning.reason, warning.remedy);
    }
    guard
}
