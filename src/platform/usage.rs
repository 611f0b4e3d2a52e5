//! What users use: any part of the server records it, one listener counts it. Recording neither waits nor fails; without a
//! listener it does nothing.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::platform::clock::Clock;
use crate::platform::config::Choice;
use crate::platform::id::UserId;
use crate::platform::telemetry::metrics::Metrics;

/// Something that is counted for each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = UsageMetric)]
pub enum Metric {
    ApiRequests,
    AiTokens,
    AiRequests,
    StorageBytes,
    FileUploads,
    FileDownloads,
    WebsocketMessages,
    BackgroundJobs,
    EmailSent,
}

impl Choice for Metric {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("api_requests", Self::ApiRequests),
        ("ai_tokens", Self::AiTokens),
        ("ai_requests", Self::AiRequests),
        ("storage_bytes", Self::StorageBytes),
        ("file_uploads", Self::FileUploads),
        ("file_downloads", Self::FileDownloads),
        ("websocket_messages", Self::WebsocketMessages),
        ("background_jobs", Self::BackgroundJobs),
        ("email_sent", Self::EmailSent),
    ];
}

/// What the quantity is broken down by, such as `method:GET`. Shared by the events of a route.
pub type Labels = Arc<[String]>;

/// One use.
#[derive(Debug, Clone)]
pub struct Event {
    pub user: UserId,
    /// Decides the day that it is counted in.
    pub at: DateTime<Utc>,
    pub metric: Metric,
    pub quantity: u64,
    pub labels: Labels,
}

/// Takes events. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Usage(Arc<Inner>);

struct Inner {
    clock: Clock,
    listener: OnceLock<mpsc::Sender<Event>>,
    dropped: IntCounter,
}

impl Usage {
    pub fn new(clock: &Clock, metrics: &Metrics) -> Self {
        let dropped =
            metrics.int_counter("usage_events_dropped_total", "Uses that were not counted, because too many waited to be counted");
        Self(Arc::new(Inner { clock: clock.clone(), listener: OnceLock::new(), dropped }))
    }

    /// Begins to keep events, up to `capacity` of them; further ones are dropped. `None` if there is a listener.
    pub fn listen(&self, capacity: usize) -> Option<mpsc::Receiver<Event>> {
        let (sender, receiver) = mpsc::channel(capacity);
        self.0.listener.set(sender).is_ok().then_some(receiver)
    }

    /// Records what a user used now. `None` uses nothing: see `Actor::account`.
    pub fn record(&self, account: Option<&UserId>, metric: Metric, quantity: u64, labels: &Labels) {
        self.record_at(self.0.clock.now(), account, metric, quantity, labels);
    }

    /// As [`Usage::record`], for what began at another time.
    pub fn record_at(&self, at: DateTime<Utc>, account: Option<&UserId>, metric: Metric, quantity: u64, labels: &Labels) {
        let (Some(user), Some(listener), 1..) = (account, self.0.listener.get(), quantity) else { return };
        if listener.try_send(Event { user: user.clone(), at, metric, quantity, labels: labels.clone() }).is_err() {
            self.0.dropped.inc();
        }
    }

    /// Counts events that the listener cannot keep.
    pub fn dropped(&self, events: u64) {
        self.0.dropped.inc_by(events);
    }
}
