//! State of the feature: the client of the Play Developer API, and the verifier of pushes.

use std::sync::Arc;

use crate::app::feature::Setup;
use crate::platform::error::{Error, Result};
use crate::providers::payments::google::{Config, Play, PushVerifier};

/// Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct State {
    play: Option<Arc<Play>>,
    pub push: Arc<PushVerifier>,
}

impl State {
    pub fn new(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let config: &Config = setup.config.feature().ok_or_else(|| anyhow::anyhow!("no settings"))?;
        Ok(Self {
            play: Play::new(config, setup.outgoing, setup.clock.clone()).map(Arc::new),
            push: Arc::new(PushVerifier::new(config, setup.outgoing)),
        })
    }

    /// The client, if Google Play is configured.
    pub fn client(&self) -> Option<&Play> {
        self.play.as_deref()
    }

    /// The client; fails with 503 if Google Play is not configured.
    pub fn play(&self) -> Result<&Play> {
        self.client().ok_or(Error::Unavailable { message: "Google Play is not configured", retry_after: None })
    }
}
