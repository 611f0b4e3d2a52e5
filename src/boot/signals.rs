//! Signals that stop the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub struct Signals(Signal, Signal);

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

    /// Exits at the next signal, because a shutdown is already in progress.
    pub fn end_at_once_on_next(mut self) {
        tokio::spawn(async move {
            self.received().await;
            // 128 + SIGINT, as shells report it.
            std::process::exit(130);
        });
    }
}
