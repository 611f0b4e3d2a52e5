//! A sender that exists in the tests alone: its events say how they are to be handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::extract::State;
use http::HeaderMap;
use omnistack::app::App;
use omnistack::app::feature::{Feature, Setup};
use omnistack::app::jobs::New;
use omnistack::features::webhooks::{self, Answer, Current, Delivery, Event, Opened, Received, Sender, Step};
use omnistack::platform::db::Tx;
use omnistack::platform::error::{Error, Result};
use omnistack::platform::http::{Endpoints, Json, RawBody};
use serde_json::{Value, json};
use utoipa_axum::routes;

use crate::harness::functions::{Act, Way};

pub struct Bell;

pub static BELL: BellSender = BellSender;

/// How the sender behaves, and how often it was asked.
#[derive(Clone, Default)]
pub struct Behaviour {
    /// Events of type `fail` fail.
    pub failing: Arc<AtomicBool>,
    pub reads: Arc<AtomicUsize>,
}

#[async_trait]
impl Feature<App> for Bell {
    fn name(&self) -> &'static str {
        "bell"
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(Behaviour::default());
        webhooks::service::add(setup, &BELL);
        Ok(())
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new().add(webhooks::POLICY, routes!(receive))
    }
}

/// Receive the bell's events
#[utoipa::path(post, path = "/webhooks/bell", operation_id = "receiveBellEvent", tag = "webhooks",
    request_body(content = String, content_type = "application/json", example = json!("{}")),
    responses((status = 200, body = Received), (status = 400), (status = 409)))]
async fn receive(State(app): State<App>, headers: HeaderMap, body: RawBody) -> Result<Json<Received>> {
    webhooks::service::receive(&app, &BELL, &headers, body).await
}

pub struct BellSender;

#[async_trait]
impl Sender for BellSender {
    fn provider(&self) -> &'static str {
        "bell"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["ring", "fail", "tie", "read", "restless"]
    }

    async fn open(&self, app: &App, delivery: Delivery<'_>) -> Result<Opened> {
        if delivery.headers.get("x-bell").is_none_or(|given| given != "right") {
            return Err(webhooks::service::bad_signature(app, "bell", "BELL_SECRET", "wrong"));
        }
        let body: Value = serde_json::from_slice(delivery.body).map_err(|_| Error::BadRequest("Not JSON".to_owned()))?;
        if body["type"] == "test" {
            return Ok(Opened::Answered(Answer::TestAcknowledged));
        }
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Ok(Opened::Event(Event { id: text("id"), kind: text("type"), payload: body["data"].clone(), occurred_at: None }))
    }

    fn reads_first(&self, _: &App, event: &Event) -> bool {
        event.kind == "read"
    }

    async fn read(&self, app: &App, _: &Event) -> Result<Current> {
        app.state::<Behaviour>().reads.fetch_add(1, Ordering::SeqCst);
        Ok(Some(json!({"now": true})))
    }

    /// The effect is a job.
    async fn apply(&self, app: &App, tx: &mut Tx, event: &Event, read: Option<&Current>) -> Result<Step> {
        app.jobs.enqueue(&mut *tx, &Act::new(Way::Succeed), New::default()).await?;
        match event.kind.as_str() {
            "fail" if app.state::<Behaviour>().failing.load(Ordering::SeqCst) => {
                Err(Error::Internal(anyhow::anyhow!("the bell is broken")))
            }
            "tie" if read.is_none() => Ok(Step::Read),
            "restless" => Ok(Step::Read),
            _ => Ok(Step::Done),
        }
    }
}
