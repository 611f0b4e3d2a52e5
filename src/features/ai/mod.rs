//! AI gateway: completions of several vendors (`providers::ai`) behind one API, whole or as streams.
//!
//! Routes `/app/ai…`. No tables. Requests count against the plan's quota `ai_requests`.

mod diagnosis;
mod events;
mod metering;
mod model;
mod routes;
pub mod service;
mod state;
mod stream;

use async_trait::async_trait;
use http::Extensions;

use crate::app::App;
use crate::app::feature::{Feature, Finding, Setup};
use crate::platform::config::{Env, Section};
use crate::platform::http::Endpoints;
use crate::providers::ai::Config;
use crate::providers::vendor::Outside;
use state::State;

pub struct Ai;

#[async_trait]
impl Feature<App> for Ai {
    fn name(&self) -> &'static str {
        "ai"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(Config::read(env));
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        let outside = Outside { outgoing: setup.outgoing.clone(), keys: setup.keys.clone(), metrics: setup.metrics.clone() };
        let state = State::new(setup.config.feature().ok_or_else(|| anyhow::anyhow!("no settings"))?, &outside, setup.usage)?;
        setup.keep(state);
        Ok(())
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("ai", "Completions of language models")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        routes::endpoints()
    }

    async fn diagnose(&self, app: &App) -> Vec<Finding> {
        diagnosis::diagnose(app).await
    }

    fn banner(&self, app: &App) -> Vec<(&'static str, String)> {
        vec![("AI", diagnosis::banner(app))]
    }
}
