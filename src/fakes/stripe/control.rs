//! Control of the look-alike: a page at `/`, and the same for tests as JSON below `/_fake`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use minijinja::context;
use minijinja::value::Serde;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::delivery;
use super::lifecycle;
use super::pages;
use super::params::Params;
use super::settings::Switches;
use super::shared::Shared;
use super::world::{Delivery, Kind};

/// Deliveries that the page shows.
const SHOWN: usize = 50;
const DAY: i64 = 24 * 3600;

#[derive(Serialize)]
pub struct Deliveries {
    data: Vec<Delivery>,
}

/// How far time advances.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    days: i64,
}

/// `GET /_fake/switches`
pub async fn switches(State(shared): State<Arc<Shared>>) -> Json<Switches> {
    Json(shared.world().switches)
}

/// `POST /_fake/switches`: sets the switches that are named, and leaves the others.
pub async fn set_switches(State(shared): State<Arc<Shared>>, Json(named): Json<Value>) -> Response {
    let mut world = shared.world();
    let mut all = json!(world.switches);
    for (name, value) in named.as_object().into_iter().flatten() {
        all[name.as_str()] = value.clone();
    }
    match serde_json::from_value(all) {
        Ok(switches) => {
            world.switches = switches;
            Json(switches).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response(),
    }
}

/// `GET /_fake/deliveries`: all attempts, oldest first.
pub async fn deliveries(State(shared): State<Arc<Shared>>) -> Json<Deliveries> {
    Json(Deliveries { data: shared.world().deliveries.clone() })
}

/// `POST /_fake/advance` with `days`: answers when the events of the periods that ended were sent once.
pub async fn advance(State(shared): State<Arc<Shared>>, Json(by): Json<Advance>) -> Response {
    advance_by(&shared, by.days).await.unwrap_or_else(|| Json(json!({"days": by.days})).into_response())
}

/// The answer if time cannot advance.
async fn advance_by(shared: &Arc<Shared>, days: i64) -> Option<Response> {
    if !(0..=3660).contains(&days) {
        return Some(pages::message(StatusCode::BAD_REQUEST, "Time advances by 0 to 3660 days."));
    }
    if let Err(refusal) = lifecycle::advance(&mut shared.world(), days * DAY) {
        return Some(pages::message(refusal.status, refusal.message()));
    }
    delivery::send_and_wait(shared).await;
    None
}

/// `GET /`
pub async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let world = shared.world();
    let deliveries: Vec<_> = world.deliveries.iter().rev().take(SHOWN).cloned().map(Serde).collect();
    let subscriptions: Vec<_> = world.all(Kind::Subscription).iter().rev().map(pages::shown).collect();
    let shown = context! {
        mode => if world.is_classic() { "classic" } else { "flexible" },
        deliver_to => world.deliver_to(),
        switches => Serde(world.switches),
        deliveries => deliveries,
        subscriptions => subscriptions,
    };
    pages::render(StatusCode::OK, "control.html", &shown)
}

/// `POST /`: the page's forms.
pub async fn act(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let form = Params::parse(&body);
    if form.text("action") == Some("advance") {
        let days = form.integer("days").ok().flatten().unwrap_or_default();
        return advance_by(&shared, days).await.unwrap_or_else(|| Redirect::to("/").into_response());
    }
    let is_on = |name: &str| form.text(name).is_some();
    shared.world().switches = Switches {
        duplicates: is_on("duplicates"),
        disorder: is_on("disorder"),
        delay_ms: form.text("delay_ms").and_then(|text| text.parse().ok()).unwrap_or_default(),
        loss: is_on("loss"),
        v2_events: is_on("v2_events"),
    };
    Redirect::to("/").into_response()
}
