//! Metrics of sockets.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::frames::Kind;
use crate::platform::telemetry;

/// Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    /// Open sockets.
    connected: IntGauge,
    /// Those of them whose user is known.
    authenticated: IntGauge,
    messages: IntCounterVec,
    /// In the order of [`Kind::ALL`], then `other`.
    sent: Vec<IntCounter>,
}

/// Counts a socket until it is dropped.
pub struct Counted(IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub fn new(metrics: &telemetry::metrics::Metrics) -> Self {
        let connections = metrics.gauge("websocket_connections", "Open WebSockets", &["status"]);
        let messages = metrics.counter("websocket_messages_total", "Frames of WebSockets", &["direction", "type"]);
        let names = Kind::ALL.into_iter().map(Kind::name).chain(["other"]);
        let sent = names.map(|name| messages.with_label_values(&["sent", name])).collect();
        Self(Arc::new(Inner {
            connected: connections.with_label_values(&["connected"]),
            authenticated: connections.with_label_values(&["authenticated"]),
            messages,
            sent,
        }))
    }

    pub fn connected(&self) -> Counted {
        self.0.connected.inc();
        Counted(self.0.connected.clone())
    }

    pub fn authenticated(&self) -> Counted {
        self.0.authenticated.inc();
        Counted(self.0.authenticated.clone())
    }

    /// Counts a frame of a client; `kind` is one of the known types, or `other`.
    pub fn received(&self, kind: &str) {
        self.0.messages.with_label_values(&["received", kind]).inc();
    }

    pub fn sent(&self, kind: Option<Kind>, receivers: u64) {
        let index = kind.and_then(|kind| Kind::ALL.iter().position(|known| *known == kind)).unwrap_or(Kind::ALL.len());
        if let Some(counter) = self.0.sent.get(index) {
            counter.inc_by(receivers);
        }
    }
}
