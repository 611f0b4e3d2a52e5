//! State of the feature: the gateway and its metrics.

use std::sync::Arc;

use super::metering::Meters;
use crate::platform::usage::Usage;
use crate::providers::ai::{Config, Gateway};
use crate::providers::vendor::Outside;

/// The configured vendors, and the metrics of their use. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct State {
    pub gateway: Arc<Gateway>,
    pub meters: Meters,
}

impl State {
    pub fn new(config: &Config, outside: &Outside, usage: &Usage) -> anyhow::Result<Self> {
        let gateway = Gateway::new(config, outside)?;
        let meters = Meters::new(&outside.metrics, usage, gateway.configured_models().into_iter().map(|target| target.model));
        Ok(Self { gateway: Arc::new(gateway), meters })
    }
}
