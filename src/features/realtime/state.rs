//! State of the feature: the connections of this instance, and its link to the others.

use std::sync::{Arc, OnceLock};

use super::bridge::Bridge;
use super::hub::Hub;
use super::metrics::Metrics;
use super::presence::Presence;
use crate::app::feature::Setup;
use crate::platform::clock::Clock;
use crate::platform::redis::Redis;
use crate::platform::usage::Labels;

/// Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    hub: Arc<Hub>,
    metrics: Metrics,
    clock: Clock,
    redis: Option<Redis>,
    /// Started by the first use, because most commands need none.
    running: OnceLock<Running>,
    labels: [(&'static str, Labels); 3],
}

pub struct Running {
    pub bridge: Arc<Bridge>,
    pub presence: Presence,
}

impl State {
    pub fn new(setup: &Setup<'_>) -> Self {
        let metrics = Metrics::new(setup.metrics);
        let labels = ["subscribe", "unsubscribe", "message"].map(|name| (name, Labels::from([format!("type:{name}")])));
        Self(Arc::new(Inner {
            hub: Arc::new(Hub::new(metrics.clone())),
            metrics,
            clock: setup.clock.clone(),
            redis: setup.redis.cloned(),
            running: OnceLock::new(),
            labels,
        }))
    }

    pub fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub fn running(&self) -> &Running {
        self.0.running.get_or_init(|| {
            let Inner { hub, clock, redis, .. } = &*self.0;
            let origin = uuid::Uuid::now_v7().to_string();
            let bridge = Arc::new(Bridge::new(hub.clone(), origin.clone(), redis.clone()));
            let presence = Presence::new(hub.clone(), bridge.clone(), clock.clone(), origin, redis.clone());
            Running { bridge, presence }
        })
    }

    /// What runs, if it was started.
    pub fn started(&self) -> Option<&Running> {
        self.0.running.get()
    }

    /// What a client's frame counts as in usage; `None` for one that does not count.
    pub fn labels(&self, request: &str) -> Option<&Labels> {
        self.0.labels.iter().find(|(name, _)| *name == request).map(|(_, labels)| labels)
    }
}
