//! Look-alike of Stripe: its API as far as billing uses it, pages for checkout and portal that a person or a test clicks, and
//! signed webhooks. The shapes follow Stripe's documentation (<https://docs.stripe.com/api>); no money moves.

mod api;
mod control;
mod delivery;
mod lifecycle;
mod objects;
mod pages;
mod params;
mod refusal;
mod settings;
mod shared;
mod world;

use std::future::IntoFuture;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::platform::outgoing::Outgoing;
use crate::platform::telemetry::metrics::Metrics;
pub use settings::{Interval, Price, Settings, Switches};
use shared::Shared;

/// A running look-alike. Dropping it stops it.
pub struct Fake {
    /// `http://127.0.0.1:<port>`: the value of `STRIPE_API_BASE`.
    pub url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Fake {
    /// Listens on 127.0.0.1.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let address = ("127.0.0.1", settings.port);
        let listener = TcpListener::bind(address).await.with_context(|| format!("port {} cannot be opened", settings.port))?;
        let url = format!("http://{}", listener.local_addr()?);
        let service = Outgoing::new(&Metrics::default())?.service("webhooks");
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared::new(url.clone(), settings, service, stop.clone()));
        let router = router().with_state(shared.clone());
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        Ok(Self { url, shared, serving: tokio::spawn(serving.into_future()) })
    }

    /// Changes what goes wrong on the way of the webhooks.
    pub fn set_switches(&self, switches: Switches) {
        self.shared.world().switches = switches;
    }

    /// Ends when the server ends, which it does not by itself.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        Ok((&mut self.serving).await??)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.serving.abort();
    }
}

fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/{*path}", any(api::serve))
        .route("/c/pay/{session}", get(pages::checkout).post(pages::act_on_checkout))
        .route("/p/session/{session}", get(pages::portal).post(pages::act_on_portal))
        .route("/", get(control::page).post(control::act))
        .route("/_fake/switches", get(control::switches).post(control::set_switches))
        .route("/_fake/deliveries", get(control::deliveries))
        .route("/_fake/advance", post(control::advance))
}
