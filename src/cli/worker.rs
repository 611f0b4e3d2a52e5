//! `omnistack worker`

use std::process::ExitCode;

use crate::app::App;
use crate::platform::clock::Clock;
use crate::{boot, features};

pub async fn run() -> anyhow::Result<ExitCode> {
    let loaded = super::load()?;
    // Lives until the end: dropping it writes the last lines.
    let _logs = super::serve::log(&loaded);
    let app = App::new(loaded.config.with_secret()?, Clock::System, features::all()).await?;
    boot::worker::work(app).await?;
    Ok(ExitCode::SUCCESS)
}
