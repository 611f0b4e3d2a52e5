//! Runs the job worker in a process, beside the server or alone.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::background::Background;
use super::signals::Signals;
use super::startup;
use crate::app::App;
use crate::app::jobs::worker::{Settings, Worker};

/// A running worker and its schedules.
pub struct Working {
    worker: Arc<Worker>,
    jobs: JoinHandle<anyhow::Result<()>>,
    schedules: JoinHandle<()>,
}

impl Working {
    /// Starts a worker and the schedules.
    pub fn start(app: &App) -> Self {
        let worker = app.worker(Settings::new(&app.config.jobs, app.config.core.shutdown_grace));
        let (app, stop) = (app.clone(), worker.stop().clone());
        let schedules = tokio::spawn(async move { app.schedules.run(&app.db, &app.jobs, stop).await });
        Self { jobs: tokio::spawn(worker.clone().run()), worker, schedules }
    }

    /// Cancelled to stop the worker; also cancelled if the worker breaks down.
    pub fn stop(&self) -> &CancellationToken {
        self.worker.stop()
    }

    /// Waits until running jobs have ended or have been put back, within the grace.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.schedules.await?;
        self.jobs.await?
    }
}

/// Runs only jobs, until the process receives a stop signal.
pub async fn work(app: App) -> anyhow::Result<()> {
    startup::prepare(&app).await?;
    let mut signals = Signals::listen()?;
    let (background, working) = (Background::start(&app), Working::start(&app));
    tracing::info!(concurrency = app.config.jobs.concurrency, functions = app.jobs.catalog().names().join(" "), "worker ready");
    tokio::select! {
        () = signals.received() => tracing::info!(grace_s = app.config.core.shutdown_grace.as_secs(), "stopping; a second signal ends at once"),
        () = working.stop().cancelled() => tracing::error!("the worker broke down"),
    }
    signals.end_at_once_on_next();
    working.stop().cancel();
    let ended = working.ended().await;
    background.end().await;
    ended?;
    app.close().await;
    tracing::info!("stopped");
    Ok(())
}
