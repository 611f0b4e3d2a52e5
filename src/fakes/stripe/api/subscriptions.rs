//! Subscriptions.

use serde_json::Value;

use super::call::Call;
use super::customers::set_metadata;
use super::lists::{matches, page};
use crate::fakes::stripe::lifecycle::{self, Cancel};
use crate::fakes::stripe::refusal::Refusal;
use crate::fakes::stripe::world::{Kind, World};

pub fn get(world: &World, id: &str) -> Result<Value, Refusal> {
    world.get(Kind::Subscription, id, "id").cloned()
}

/// Without a status, those that have not ended.
pub fn list(world: &World, call: &Call) -> Result<Value, Refusal> {
    if let Some(customer) = call.params.text("customer") {
        world.get(Kind::Customer, customer, "customer")?;
    }
    let has_status = |subscription: &Value| match call.params.text("status") {
        Some("all") => true,
        Some("ended") => lifecycle::has_ended(subscription),
        Some(status) => subscription["status"] == status,
        None => !lifecycle::has_ended(subscription),
    };
    page(world, Kind::Subscription, "/v1/subscriptions", call, |subscription| {
        matches(subscription, call, &["customer"]) && has_status(subscription)
    })
}

pub fn update(world: &mut World, id: &str, call: &Call) -> Result<Value, Refusal> {
    world.get(Kind::Subscription, id, "id")?;
    let flag = call.params.flag("cancel_at_period_end")?;
    let when = match (call.params.get("cancel_at"), flag) {
        (Some(_), Some(_)) => return Err(Refusal::invalid("cancel_at", "Give either cancel_at or cancel_at_period_end, not both.")),
        (Some(""), None) => Some(Cancel::Never),
        (Some("min_period_end" | "max_period_end"), None) if !world.is_classic() => Some(Cancel::AtPeriodEnd),
        (Some(_), None) => call.params.integer("cancel_at")?.map(Cancel::At),
        (None, Some(true)) => Some(Cancel::AtPeriodEnd),
        (None, Some(false)) => Some(Cancel::NotAtPeriodEnd),
        (None, None) => None,
    };
    if let Some(when) = when {
        lifecycle::cancel(world, id, when)?;
    }
    if let Some(price) = call.params.text("items[0][price]") {
        let price = world.price(price, "items[0][price]")?.clone();
        lifecycle::reprice(world, id, &price)?;
    }
    lifecycle::update(world, id, |subscription| set_metadata(subscription, call.params))
}

/// Ends the subscription now.
pub fn cancel(world: &mut World, id: &str) -> Result<Value, Refusal> {
    lifecycle::end(world, id)
}
