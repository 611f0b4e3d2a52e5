//! Work of features beside requests and jobs ([`Feature::run`](crate::app::feature::Feature::run)).

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How long the work may go on after the signal to stop.
const GRACE: Duration = Duration::from_secs(10);

/// The running work of every feature.
pub struct Background {
    running: JoinSet<()>,
    stop: CancellationToken,
}

impl Background {
    pub fn start(app: &App) -> Self {
        let (mut running, stop) = (JoinSet::new(), CancellationToken::new());
        for feature in &app.features {
            let (feature, app, stop) = (*feature, app.clone(), stop.clone());
            running.spawn(async move { feature.run(&app, stop).await });
        }
        Self { running, stop }
    }

    /// Ends the work; call it once nothing makes more of it.
    pub async fn end(mut self) {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "the background work of a feature failed");
                }
            }
        };
        if timeout(GRACE, all).await.is_err() {
            tracing::error!("the background work of features did not end in time");
        }
    }
}
