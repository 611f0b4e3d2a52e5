//! `omnistack serve`

use std::process::ExitCode;

use crate::app::App;
use crate::boot;
use crate::platform::clock::Clock;
use crate::platform::telemetry::logs::{self, Service};

pub async fn run() -> anyhow::Result<ExitCode> {
    let loaded = super::load()?;
    let (core, telemetry) = (&loaded.config.core, &loaded.config.telemetry);
    let service = Service { name: core.project_name.clone(), environment: core.environment.name(), json: core.environment.is_production() };
    // Lives until the end: dropping it writes the last lines.
    let _logs = logs::init(service, telemetry.level, telemetry.debug);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    for warning in &loaded.warnings {
        tracing::warn!(variable = warning.variable, "{} {}", warning.reason, warning.remedy);
    }
    let app = App::new(loaded.config.with_secret()?, Clock::System).await?;
    boot::serve::serve(app).await?;
    Ok(ExitCode::SUCCESS)
}
