//! A feature that exists in the tests alone. It uses every kind of endpoint and every hook, so that the rest of the server
//! is shown to know none of its names.

use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use omnistack::app::App;
use omnistack::app::config::Config;
use omnistack::app::feature::{Feature, Finding, Level, Setup};
use omnistack::app::jobs::{Fail, Job, Registry, Run, Schedules};
use omnistack::platform::error::Result;
use omnistack::platform::http::policy::{Access, RequestBody};
use omnistack::platform::http::{Endpoints, Policy};
use omnistack::platform::id::UserId;
use omnistack::platform::rate_limit::{Budget, KeyedBy, Rate, Window};
use prometheus::IntCounterVec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa_axum::routes;

use super::routes;

/// Signs webhooks.
pub const SECRET: &[u8] = b"sample-webhook-secret";
/// The cookie of the console page.
pub const COOKIE: &str = "sample_session";

/// Requests of the webhook's sender.
pub static WEBHOOK: Budget = Budget {
    name: "sample",
    variable: "RATE_LIMIT_SAMPLE",
    help: "Sample webhooks per address",
    default: Rate { limit: 100, window: Window::MINUTE },
    keyed_by: KeyedBy::Address,
};

pub struct Sample;

/// What the feature keeps in memory.
#[derive(Clone)]
pub struct State {
    pub events: IntCounterVec,
}

#[async_trait]
impl Feature<App> for Sample {
    fn name(&self) -> &'static str {
        "sample"
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        let events = setup.metrics.counter("sample_events_total", "Sample events", &["kind"]);
        setup.keep(State { events });
        Ok(())
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("sample", "One endpoint of each kind")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new()
            .add(Policy::user().stream(Duration::from_secs(60)), routes!(routes::stream))
            .add(Policy::user(), routes!(routes::large))
            .add(Policy::socket(), routes!(routes::socket))
            .add(Policy::webhook().body(RequestBody::Raw(Some(1024))).budget(&WEBHOOK), routes!(routes::webhook))
            .add(Policy::user().v2(), routes!(routes::version))
            .page(
                Policy::console(Access::Admin, COOKIE),
                "/console/sample",
                [Method::GET, Method::POST],
                axum::routing::get(routes::console).post(routes::console),
            )
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<CountSample>();
    }

    fn schedules(&self, _: &Config, schedules: &mut Schedules<App>) {
        schedules.add::<CountSample>("30 4 * * *");
    }

    async fn diagnose(&self, _: &App) -> Vec<Finding> {
        let finding = |level, text: &str, remedy: &str| Finding { level, what: "sample", text: text.to_owned(), remedy: remedy.to_owned() };
        vec![finding(Level::Ok, "has its vendor", ""), finding(Level::Warn, "its vendor retires", "Choose another one")]
    }

    fn banner(&self, _: &App) -> Vec<(&'static str, String)> {
        vec![("sample", "installed".to_owned())]
    }

    async fn export(&self, _: &App, user: &UserId) -> Result<Map<String, Value>> {
        Ok(Map::from_iter([("sample".to_owned(), json!({"of": user}))]))
    }
}

/// Counts an event.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CountSample {}

impl Job<App> for CountSample {
    const NAME: &'static str = "count_sample";

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        app.state::<State>().events.with_label_values(&["job"]).inc();
        Ok(json!({"counted": true}))
    }
}
