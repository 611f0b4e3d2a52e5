//! Meters: usage events are added up by customer, each identifier once.

use serde_json::{Value, json};

use super::call::Call;
use crate::fakes::stripe::objects;
use crate::fakes::stripe::refusal::Refusal;
use crate::fakes::stripe::world::{Usage, World, new_id};

const MINUTE: i64 = 60;

pub fn list(world: &World) -> Value {
    let meters: Vec<Value> = world.meters().iter().map(|name| objects::meter(name)).collect();
    objects::list("/v1/billing/meters", &meters, false)
}

/// Accepts usage of any meter and customer, as Stripe does: it reports those that it does not know later, by an event.
pub fn record(world: &mut World, call: &Call) -> Result<Value, Refusal> {
    let event_name = call.params.required("event_name")?.to_owned();
    let value = call.params.integer("payload[value]")?.ok_or_else(|| Refusal::required("payload[value]"))?;
    let customer = call.params.text("payload[stripe_customer_id]").unwrap_or_default().to_owned();
    let identifier = call.params.text("identifier").map_or_else(|| new_id("mev_"), str::to_owned);
    let at = call.params.integer("timestamp")?.unwrap_or_else(|| world.now());
    if world.usage.iter().any(|known| known.identifier == identifier) {
        return Err(Refusal::state(&format!("An event already exists with identifier {identifier}.")));
    }
    let event = json!({
        "object": "billing.meter_event", "created": world.now(), "event_name": event_name, "identifier": identifier, "livemode": false,
        "payload": call.params.map("payload"), "timestamp": at
    });
    world.usage.push(Usage { event_name, customer, value, at, identifier });
    Ok(event)
}

/// The sum of a customer in a time.
pub fn summaries(world: &World, id: &str, call: &Call) -> Result<Value, Refusal> {
    let name = world.meters().iter().find(|name| objects::meter_id(name) == id);
    let name = name.ok_or_else(|| Refusal::missing("billing.meter", id, "id"))?;
    let customer = call.params.required("customer")?;
    world.customer(customer, "customer")?;
    let time = |param: &str| {
        let time = call.params.integer(param)?.ok_or_else(|| Refusal::required(param))?;
        if time % MINUTE == 0 { Ok(time) } else { Err(Refusal::invalid(param, "The time is no whole minute.")) }
    };
    let (start, end) = (time("start_time")?, time("end_time")?);
    let counted = world.usage.iter().filter(|usage| usage.event_name == *name && usage.customer == customer);
    let sum: i64 = counted.filter(|usage| (start..end).contains(&usage.at)).map(|usage| usage.value).sum();
    let summary = json!({
        "id": new_id("mtrusg_"), "object": "billing.meter_event_summary", "aggregated_value": sum, "start_time": start, "end_time": end,
        "livemode": false, "meter": id
    });
    Ok(objects::list(&format!("/v1/billing/meters/{id}/event_summaries"), &[summary], false))
}
