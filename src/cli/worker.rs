//! `omnistack worker`

use std::process::ExitCode;

use crate::boot;

pub async fn run() -> anyhow::Result<ExitCode> {
    let (app, _logs) = super::serve::start().await?;
    boot::worker::work(app).await?;
    Ok(ExitCode::SUCCESS)
}
