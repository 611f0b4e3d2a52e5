//! State of the feature: the senders of this application and their metrics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::{HistogramVec, IntCounterVec};

use super::sender::Sender;
use crate::app::feature::Setup;

/// The senders in the order of their features. Cheap to clone.
#[derive(Clone, Default)]
pub struct Senders(Arc<[&'static dyn Sender]>);

impl Senders {
    pub fn with(&self, sender: &'static dyn Sender) -> Self {
        Self(self.0.iter().copied().chain([sender]).collect())
    }

    pub fn find(&self, provider: &str) -> Option<&'static dyn Sender> {
        self.0.iter().copied().find(|sender| sender.provider() == provider)
    }
}

/// Minimum time between two log lines about refused signatures of one sender: anybody can cause them.
const QUIET: TimeDelta = TimeDelta::minutes(1);

/// Metrics of the feature, and the times of its warnings.
#[derive(Clone)]
pub struct State {
    pub events: IntCounterVec,
    pub durations: HistogramVec,
    warned: Arc<Mutex<HashMap<&'static str, DateTime<Utc>>>>,
}

impl State {
    pub fn new(setup: &Setup<'_>) -> Self {
        let buckets = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
        Self {
            events: setup.metrics.counter(
                "webhook_events_total",
                "Webhook events by provider, type and outcome",
                &["provider", "event_type", "status"],
            ),
            durations: setup.metrics.histogram(
                "webhook_processing_duration_seconds",
                "Duration of handling a webhook event",
                &["provider"],
                buckets,
            ),
            warned: Arc::default(),
        }
    }

    /// Whether a warning about this sender is due.
    pub fn may_warn(&self, provider: &'static str, now: DateTime<Utc>) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let due = warned.get(provider).is_none_or(|last| now - *last >= QUIET || now < *last);
        if due {
            warned.insert(provider, now);
        }
        due
    }
}
