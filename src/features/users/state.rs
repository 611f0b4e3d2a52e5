//! In-memory state: cached identities, presence and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
use prometheus::{IntGauge, IntGaugeVec};

use super::model::Identity;
use super::presence::Presence;
use crate::app::feature::Setup;
use crate::platform::cache::Cache;

/// TTL of cached identities.
const IDENTITY_TTL: TimeDelta = TimeDelta::seconds(5);
/// Capacity of the identity cache in bytes.
const IDENTITY_BYTES: u64 = 2 << 20;
/// Minimum interval between two counts in the database for the gauges, in seconds.
const REFRESH: i64 = 60;

#[derive(Clone)]
pub struct State(Arc<Inner>);

pub struct Inner {
    pub identities: Cache<Identity>,
    pub presence: Presence,
    pub active_sessions: IntGauge,
    pub users: IntGaugeVec,
    pub subscriptions: IntGaugeVec,
    refreshed: AtomicI64,
}

impl std::ops::Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl State {
    pub fn new(setup: &Setup<'_>) -> Self {
        let metrics = setup.metrics;
        Self(Arc::new(Inner {
            identities: Cache::new("identity", IDENTITY_BYTES, IDENTITY_TTL, metrics, setup.redis.cloned()),
            presence: Presence::default(),
            active_sessions: metrics.int_gauge("active_sessions", "Users with an authenticated request in the last 15 minutes"),
            users: metrics.gauge("users_total", "Users by status; refreshed at most once a minute", &["status"]),
            subscriptions: metrics.gauge(
                "active_subscriptions_total",
                "Active subscriptions by plan; refreshed at most once a minute",
                &["plan"],
            ),
            refreshed: AtomicI64::new(0),
        }))
    }

    /// Returns `true` if the gauges are due for a refresh, to only one of several concurrent callers. `now` is in Unix seconds.
    pub fn take_refresh(&self, now: i64) -> bool {
        let last = self.refreshed.load(Ordering::SeqCst);
        now - last >= REFRESH && self.refreshed.compare_exchange(last, now, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}
