//! State of the feature: the verifier of what Apple signs, and the client of its API.

use std::sync::Arc;

use crate::app::feature::Setup;
use crate::platform::error::{Error, Result};
use crate::providers::payments::apple::{AppStore, Config, Verifier};
use crate::providers::vendor::Outside;

/// Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct State {
    verifier: Option<Arc<Verifier>>,
    client: Option<Arc<AppStore>>,
}

impl State {
    pub fn new(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let config: &Config = setup.config.feature().ok_or_else(|| anyhow::anyhow!("no settings"))?;
        let outside = Outside { outgoing: setup.outgoing.clone(), keys: setup.keys.clone(), metrics: setup.metrics.clone() };
        Ok(Self { verifier: Verifier::new(config).map(Arc::new), client: AppStore::new(config, &outside).map(Arc::new) })
    }

    /// The verifier; fails with 503 if the App Store is not configured.
    pub fn verifier(&self) -> Result<&Verifier> {
        self.verifier.as_deref().ok_or(Error::Unavailable { message: "The App Store is not configured", retry_after: None })
    }

    /// The client of the App Store Server API, if it has a key.
    pub fn client(&self) -> Option<&AppStore> {
        self.client.as_deref()
    }
}
