//! Sessions of checkout and portal.

use serde_json::{Value, json};

use super::call::Call;
use super::lists::{matches, page};
use crate::fakes::stripe::objects::{self, NewCheckout};
use crate::fakes::stripe::refusal::Refusal;
use crate::fakes::stripe::world::{Kind, Order, World};

pub fn create(world: &mut World, call: &Call) -> Result<Value, Refusal> {
    let params = call.params;
    if params.required("mode")? != "subscription" {
        return Err(Refusal::invalid("mode", "The look-alike sells subscriptions only."));
    }
    let success_url = params.required("success_url")?;
    let price = world.price(params.required("line_items[0][price]")?, "line_items[0][price]")?.clone();
    if params.integer("line_items[0][quantity]")? != Some(1) {
        return Err(Refusal::invalid("line_items[0][quantity]", "The look-alike sells one piece."));
    }
    let customer = world.customer(params.required("customer")?, "customer")?.clone();
    let new = NewCheckout {
        customer: &customer,
        reference: params.text("client_reference_id"),
        metadata: json!(params.map("metadata")),
        success_url,
        cancel_url: params.text("cancel_url"),
        base: call.base,
    };
    let session = objects::checkout(world.now(), &new, &price);
    let order = Order { price: price.id.clone(), metadata: json!(params.map("subscription_data[metadata]")) };
    world.orders.insert(session["id"].as_str().unwrap_or_default().to_owned(), order);
    let session = world.add(Kind::Checkout, session);
    Ok(expanded(world, session, call, "line_items"))
}

pub fn get(world: &World, id: &str, call: &Call) -> Result<Value, Refusal> {
    let session = world.get(Kind::Checkout, id, "id")?.clone();
    Ok(expanded(world, session, call, "line_items"))
}

pub fn list(world: &World, call: &Call) -> Result<Value, Refusal> {
    if let Some(customer) = call.params.text("customer") {
        world.customer(customer, "customer")?;
    }
    let wanted = |session: &Value| matches(session, call, &["customer", "status", "subscription"]);
    let mut found = page(world, Kind::Checkout, "/v1/checkout/sessions", call, wanted)?;
    for session in found["data"].as_array_mut().into_iter().flatten() {
        *session = expanded(world, session.take(), call, "data.line_items");
    }
    Ok(found)
}

fn expanded(world: &World, mut session: Value, call: &Call, name: &str) -> Value {
    let id = session["id"].as_str().unwrap_or_default().to_owned();
    let price = world.orders.get(&id).and_then(|order| world.price(&order.price, "price").ok());
    if let (true, Some(price)) = (call.params.lists("expand", name), price) {
        session["line_items"] = objects::checkout_lines(&id, price);
    }
    session
}

pub fn expire(world: &mut World, id: &str) -> Result<Value, Refusal> {
    if world.get(Kind::Checkout, id, "id")?["status"] != "open" {
        return Err(Refusal::state("Only an open session can be expired."));
    }
    let expired = world.change(Kind::Checkout, id, |session| {
        session["status"] = "expired".into();
        session["url"] = Value::Null;
    })?;
    world.emit("checkout.session.expired", &expired);
    Ok(expired)
}

pub fn portal(world: &mut World, call: &Call) -> Result<Value, Refusal> {
    let customer = world.customer(call.params.required("customer")?, "customer")?.clone();
    let session = objects::portal(world.now(), &customer, call.params.text("return_url"), call.base);
    Ok(world.add(Kind::Portal, session))
}
