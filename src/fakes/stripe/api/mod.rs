//! The REST API below `/v1`: key, idempotency, and which function answers.

mod call;
mod checkout;
mod customers;
mod lists;
mod meters;
mod subscriptions;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use uuid::Uuid;

use call::Call;

use super::delivery;
use super::params::Params;
use super::refusal::Refusal;
use super::shared::Shared;
use super::world::{Remembered, World};

const MAX_BODY: usize = 1 << 20;

/// Answers every request below `/v1`.
pub async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return respond(StatusCode::PAYLOAD_TOO_LARGE, &Value::Null, false, None),
    };
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let encoded = [query, b"&", &body].concat();
    let (status, value, replayed) = answer(&shared, &parts.method, parts.uri.path(), &parts.headers, &encoded);
    // In the background: the caller may be the server that receives the events.
    drop(delivery::send(&shared));
    respond(status, &value, replayed, parts.headers.get("stripe-version"))
}

fn respond(status: StatusCode, value: &Value, replayed: bool, version: Option<&HeaderValue>) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&format!("req_{}", Uuid::now_v7().simple())) {
        headers.insert("request-id", id);
    }
    if replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    if let Some(version) = version {
        headers.insert("stripe-version", version.clone());
    }
    response
}

/// The answer, and whether it is that of an earlier request with the same idempotency key.
fn answer(shared: &Arc<Shared>, method: &Method, path: &str, headers: &HeaderMap, encoded: &[u8]) -> (StatusCode, Value, bool) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("authorization").and_then(|value| value.strip_prefix("Bearer ")) != Some(&shared.settings.secret_key) {
        let refusal = Refusal::unauthorized();
        return (refusal.status, refusal.body(), false);
    }
    let mut world = shared.world();
    // Classic subscriptions are those of an old version, whatever the client asks for.
    if let Some(version) = text("stripe-version").filter(|_| !world.is_classic()) {
        version.clone_into(&mut world.version);
    }
    let key = text("idempotency-key").filter(|_| method == Method::POST);
    let request = [method.as_str().as_bytes(), b" ", path.as_bytes(), b" ", encoded].concat();
    if let Some(known) = key.and_then(|key| world.remembered.get(key)) {
        if known.request == request {
            return (known.status, known.body.clone(), true);
        }
        let refusal = Refusal::reused_key();
        return (refusal.status, refusal.body(), false);
    }
    let params = Params::parse(encoded);
    let call = Call { base: &shared.base, params: &params };
    match dispatch(&mut world, method, path, &call) {
        Ok(body) => {
            if let Some(key) = key {
                world.remembered.insert(key.to_owned(), Remembered { request, status: StatusCode::OK, body: body.clone() });
            }
            (StatusCode::OK, body, false)
        }
        // A refused request changed nothing, and Stripe remembers no answer that its checks of parameters gave.
        Err(refusal) => (refusal.status, refusal.body(), false),
    }
}

fn dispatch(world: &mut World, method: &Method, path: &str, call: &Call) -> Result<Value, Refusal> {
    let segments: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("POST", ["customers"]) => Ok(customers::create(world, call)),
        ("GET", ["customers", id]) => customers::get(world, id),
        ("POST", ["customers", id]) => customers::update(world, id, call),
        ("DELETE", ["customers", id]) => customers::delete(world, id),
        ("POST", ["checkout", "sessions"]) => checkout::create(world, call),
        ("GET", ["checkout", "sessions"]) => checkout::list(world, call),
        ("GET", ["checkout", "sessions", id]) => checkout::get(world, id, call),
        ("POST", ["checkout", "sessions", id, "expire"]) => checkout::expire(world, id),
        ("POST", ["billing_portal", "sessions"]) => checkout::portal(world, call),
        ("GET", ["subscriptions"]) => subscriptions::list(world, call),
        ("GET", ["subscriptions", id]) => subscriptions::get(world, id),
        ("POST", ["subscriptions", id]) => subscriptions::update(world, id, call),
        ("DELETE", ["subscriptions", id]) => subscriptions::cancel(world, id),
        ("GET", ["invoices"]) => lists::invoices(world, call),
        ("GET", ["prices", id]) => lists::price(world, id),
        ("GET", ["events"]) => lists::events(world, call),
        ("GET", ["events", id]) => lists::event(world, id),
        ("GET", ["webhook_endpoints"]) => Ok(lists::webhook_endpoints(world)),
        ("GET", ["billing", "meters"]) => Ok(meters::list(world)),
        ("GET", ["billing", "meters", id, "event_summaries"]) => meters::summaries(world, id, call),
        ("POST", ["billing", "meter_events"]) => meters::record(world, call),
        _ => Err(Refusal::no_route(method.as_str(), path)),
    }
}
