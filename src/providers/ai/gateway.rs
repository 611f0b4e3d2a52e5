//! Chooses vendor and model of a request, and falls back to another vendor where the configuration allows it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::VENDORS;
use super::config::{Config, Route};
use super::error::AiError;
use super::model::{Completion, Prompt};
use super::provider::{Clocks, Llm, Pieces};
use crate::providers::ProviderError;
use crate::providers::vendor::Outside;

/// The configured vendors.
pub struct Gateway {
    /// In the order of preference.
    vendors: Vec<Arc<dyn Llm>>,
    config: Config,
}

/// A vendor and one of its models.
#[derive(Clone)]
pub struct Target {
    vendor: Arc<dyn Llm>,
    pub model: String,
}

impl Target {
    pub fn provider(&self) -> &'static str {
        self.vendor.name()
    }

    /// The vendor with its own default model.
    fn default_of(vendor: &Arc<dyn Llm>) -> Self {
        Self { vendor: vendor.clone(), model: vendor.default_model().to_owned() }
    }
}

/// A whole answer, and who gave it.
pub struct Completed {
    pub target: Target,
    pub completion: Completion,
}

/// A started stream, and who sends it.
pub struct Opened {
    pub target: Target,
    pub pieces: Box<dyn Pieces>,
}

impl Gateway {
    pub fn new(config: &Config, outside: &Outside) -> Result<Self, ProviderError> {
        let mut vendors = Vec::new();
        for (name, settings) in &config.vendors {
            match settings.connect(outside) {
                Ok(vendor) if vendor.is_stand_in() && *name != config.default_provider => {}
                Ok(vendor) => vendors.push(vendor),
                Err(ProviderError::NotConfigured(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { vendors, config: config.clone() })
    }

    /// The configured vendors, in the order of preference.
    pub fn vendors(&self) -> &[Arc<dyn Llm>] {
        &self.vendors
    }

    /// The default vendor if it is configured, else the first configured one, with the requested model or its default. `None`
    /// if no vendor is configured.
    pub fn choose(&self, model: Option<&str>) -> Option<Target> {
        let default = self.vendor(self.config.default_provider);
        let configured = default.and(self.config.default_model.as_deref());
        let vendor = default.or(self.vendors.first())?;
        let model = model.or(configured).unwrap_or(vendor.default_model()).to_owned();
        Some(Target { vendor: vendor.clone(), model })
    }

    /// The target of a route; the first configured vendor with its own default model if the route's is not configured.
    pub fn route(&self, route: &Route) -> Option<Target> {
        match self.vendor(&route.provider) {
            Some(vendor) => Some(Target { vendor: vendor.clone(), model: route.model.clone() }),
            None => self.vendors.first().map(Target::default_of),
        }
    }

    /// Vendor and model of a request without a choice, as `status` shows them.
    pub fn default_names(&self) -> (&'static str, String) {
        let chosen = self.choose(None).map(|target| (target.provider(), target.model));
        chosen.unwrap_or_else(|| {
            let name = self.config.default_provider;
            let own = VENDORS.iter().find(|vendor| vendor.name == name).map_or("", |vendor| vendor.default_model);
            (name, self.config.default_model.clone().unwrap_or_else(|| own.to_owned()))
        })
    }

    /// Every model that the configuration names, of configured vendors.
    pub fn configured_models(&self) -> Vec<Target> {
        let routes = &self.config.routes;
        let routed = [&routes.simple, &routes.moderate, &routes.complex, &routes.search].into_iter().filter_map(|route| self.route(route));
        let fallbacks = self.config.fallback.iter().filter_map(|name| self.vendor(name)).map(Target::default_of);
        self.choose(None).into_iter().chain(routed).chain(fallbacks).collect()
    }

    /// Returns a whole answer within `AI_TIMEOUT_SECONDS`, of the target or of a vendor that may take its place.
    pub async fn complete(&self, mut target: Target, prompt: &Prompt) -> Result<Completed, AiError> {
        let end = Instant::now() + self.config.timeout;
        let mut others = self.fallbacks(&target);
        loop {
            match target.vendor.complete(&target.model, prompt, share(end, others.len())).await {
                Ok(completion) => return Ok(Completed { target, completion }),
                Err(error) => target = fall_back(error, &mut others)?,
            }
        }
    }

    /// Starts a stream; another vendor may take the target's place until the first piece.
    pub async fn stream(&self, mut target: Target, prompt: &Prompt) -> Result<Opened, AiError> {
        let now = Instant::now();
        let (start, end) = (now + self.config.timeout, now + self.config.stream_max);
        let mut others = self.fallbacks(&target);
        loop {
            let first_piece = share(start, others.len()).min(Instant::now() + self.config.first_piece).min(end);
            let clocks = Clocks { first_piece, silence: self.config.timeout, end };
            match target.vendor.stream(&target.model, prompt, clocks).await {
                Ok(pieces) => return Ok(Opened { target, pieces }),
                Err(error) => target = fall_back(error, &mut others)?,
            }
        }
    }

    /// The vendors that may take the target's place, each with its own default model.
    fn fallbacks(&self, target: &Target) -> VecDeque<Target> {
        let others = self.config.fallback.iter().filter(|name| **name != target.provider());
        others.filter_map(|name| self.vendor(name)).map(Target::default_of).collect()
    }

    fn vendor(&self, name: &str) -> Option<&Arc<dyn Llm>> {
        self.vendors.iter().find(|vendor| vendor.name() == name)
    }
}

/// When a vendor must have answered, so that each of those after it has as much time.
fn share(end: Instant, others: usize) -> Instant {
    let now = Instant::now();
    now + end.saturating_duration_since(now) / u32::try_from(others + 1).unwrap_or(u32::MAX)
}

/// The next target after a failure of the vendor's own; the failure if there is none.
fn fall_back(error: AiError, others: &mut VecDeque<Target>) -> Result<Target, AiError> {
    if !error.is_vendors() {
        return Err(error);
    }
    let next = others.pop_front().ok_or_else(|| error.clone())?;
    tracing::warn!(service = error.vendor, cause = error.cause, next = next.provider(), "another AI provider answers instead");
    Ok(next)
}
