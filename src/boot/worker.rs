//! The worker as part of a process: beside the server, or alone.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::serve;
use crate::app::App;
use crate::app::jobs::worker::{Settings, Worker};

/// A worker at work, with the schedules beside it.
pub struct Working {
    worker: Arc<Worker>,
    jobs: JoinHandle<anyhow::Result<()>>,
    schedules: JoinHandle<()>,
}

impl Working {
    /// Starts a worker, and the schedules whose jobs it is to run.
    pub fn start(app: &App) -> Self {
        let worker = Worker::new(app.clone(), Settings::of(app));
        let (app, stop) = (app.clone(), worker.stop.clone());
        let schedules = tokio::spawn(async move { app.schedules.run(&app, stop).await });
        Self { jobs: tokio::spawn(worker.clone().run()), worker, schedules }
    }

    /// From when on nothing is claimed any more; also cancelled should the worker break down.
    pub fn stop(&self) -> &CancellationToken {
        &self.worker.stop
    }

    /// Waits until running jobs have ended or have been put back, within the grace.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.schedules.await?;
        self.jobs.await?
    }
}

/// Runs jobs and nothing else until the process is told to stop.
pub async fn work(app: App) -> anyhow::Result<()> {
    serve::prepare(&app).await?;
    let mut signals = Signals::listen()?;
    let working = Working::start(&app);
    tracing::info!(concurrency = app.config.jobs.concurrency, functions = app.jobs.registry().names().join(" "), "worker ready");
    tokio::select! {
        () = signals.received() => tracing::info!(grace_s = app.config.core.shutdown_grace.as_secs(), "stopping; a second signal ends at once"),
        () = working.stop().cancelled() => tracing::error!("the worker broke down"),
    }
    signals.end_at_once_on_next();
    working.stop().cancel();
    working.ended().await?;
    app.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// SIGTERM and SIGINT.
pub(super) struct Signals(Signal, Signal);

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }

    /// The process is stopping: whoever asks again wants it to end.
    pub fn end_at_once_on_next(mut self) {
        tokio::spawn(async move {
            self.received().await;
            // 128 + SIGINT, as shells report it.
            std::process::exit(130);
        });
    }
}
