//! Customers.

use serde_json::{Value, json};

use super::call::Call;
use crate::fakes::stripe::lifecycle;
use crate::fakes::stripe::objects;
use crate::fakes::stripe::params::Params;
use crate::fakes::stripe::refusal::Refusal;
use crate::fakes::stripe::world::{Kind, World};

pub fn create(world: &mut World, call: &Call) -> Value {
    let metadata = json!(call.params.map("metadata"));
    let made = objects::customer(world.now(), call.params.text("email"), call.params.text("name"), &metadata);
    let made = world.add(Kind::Customer, made);
    world.emit("customer.created", &made);
    made
}

/// A deleted customer is found, as a stub.
pub fn get(world: &World, id: &str) -> Result<Value, Refusal> {
    world.get(Kind::Customer, id, "id").cloned()
}

pub fn update(world: &mut World, id: &str, call: &Call) -> Result<Value, Refusal> {
    world.customer(id, "id")?;
    let updated = world.change(Kind::Customer, id, |customer| {
        for name in ["email", "name", "description", "phone"] {
            if let Some(value) = call.params.get(name) {
                customer[name] = if value.is_empty() { Value::Null } else { value.into() };
            }
        }
        set_metadata(customer, call.params);
    })?;
    world.emit("customer.updated", &updated);
    Ok(updated)
}

/// Deletes the customer; its subscriptions end.
pub fn delete(world: &mut World, id: &str) -> Result<Value, Refusal> {
    let gone = world.customer(id, "id")?.clone();
    let running = world.all(Kind::Subscription).iter().filter(|subscription| subscription["customer"] == id);
    let running = running.filter(|subscription| !lifecycle::has_ended(subscription));
    let ids: Vec<String> = running.filter_map(|subscription| subscription["id"].as_str().map(str::to_owned)).collect();
    world.emit("customer.deleted", &gone);
    for subscription in ids {
        lifecycle::end(world, &subscription)?;
    }
    world.change(Kind::Customer, id, |customer| *customer = json!({"id": id, "object": "customer", "deleted": true}))
}

/// Sets the members of `metadata` that the request names; an empty one is removed.
pub fn set_metadata(object: &mut Value, params: &Params) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    for (name, value) in params.map("metadata") {
        if value.is_empty() {
            metadata.remove(name);
        } else {
            metadata.insert(name.to_owned(), value.into());
        }
    }
}
