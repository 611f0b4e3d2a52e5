//! Lists, and objects that cannot be changed: invoices, prices, events, webhook endpoints.

use serde_json::{Value, json};

use super::call::Call;
use crate::fakes::stripe::objects;
use crate::fakes::stripe::refusal::Refusal;
use crate::fakes::stripe::world::{Kind, World};

/// The newest objects first, in pages.
pub fn page(world: &World, kind: Kind, url: &str, call: &Call, wanted: impl Fn(&Value) -> bool) -> Result<Value, Refusal> {
    let limit = call.params.integer("limit")?.unwrap_or(10);
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=100).contains(limit));
    let limit = limit.ok_or_else(|| Refusal::invalid("limit", "The limit is between 1 and 100."))?;
    let mut all: Vec<&Value> = world.all(kind).iter().rev().filter(|object| wanted(object)).collect();
    if let Some(after) = call.params.text("starting_after") {
        let at =
            all.iter().position(|object| object["id"] == after).ok_or_else(|| Refusal::missing(kind.noun(), after, "starting_after"))?;
        all.drain(..=at);
    }
    let has_more = all.len() > limit;
    let shown: Vec<Value> = all.into_iter().take(limit).cloned().collect();
    Ok(objects::list(url, &shown, has_more))
}

/// Whether the object has the value of each of these parameters, where they are given.
pub fn matches(object: &Value, call: &Call, names: &[&str]) -> bool {
    names.iter().all(|name| call.params.text(name).is_none_or(|value| object[*name] == value))
}

pub fn invoices(world: &World, call: &Call) -> Result<Value, Refusal> {
    if let Some(customer) = call.params.text("customer") {
        world.get(Kind::Customer, customer, "customer")?;
    }
    let of_subscription = |invoice: &Value| {
        let id = invoice.get("subscription").unwrap_or(&invoice["parent"]["subscription_details"]["subscription"]);
        call.params.text("subscription").is_none_or(|wanted| id == wanted)
    };
    page(world, Kind::Invoice, "/v1/invoices", call, |invoice| matches(invoice, call, &["customer", "status"]) && of_subscription(invoice))
}

pub fn price(world: &World, id: &str) -> Result<Value, Refusal> {
    world.price(id, "id").map(objects::price)
}

pub fn events(world: &World, call: &Call) -> Result<Value, Refusal> {
    page(world, Kind::Event, "/v1/events", call, |event| matches(event, call, &["type"]))
}

pub fn event(world: &World, id: &str) -> Result<Value, Refusal> {
    world.get(Kind::Event, id, "id").cloned()
}

/// The endpoint that the webhooks go to.
pub fn webhook_endpoints(world: &World) -> Value {
    let endpoint = world.deliver_to().map(|url| {
        json!({
            "id": "we_fake", "object": "webhook_endpoint", "api_version": world.version, "application": null, "created": world.now(),
            "description": null, "enabled_events": ["*"], "livemode": false, "metadata": {}, "status": "enabled", "url": url
        })
    });
    objects::list("/v1/webhook_endpoints", endpoint.as_slice(), false)
}
