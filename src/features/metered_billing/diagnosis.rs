//! Checks for `omnistack doctor` and the start: whether Stripe's meters add up what is reported.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::config::{Meter, Settings};
use crate::app::App;
use crate::app::feature::Finding;
use crate::features::billing::service as billing;
use crate::platform::config::Choice;

const WHAT: &str = "meters";
/// Limit on the calls together.
const LIMIT: Duration = Duration::from_secs(4);
const MAKE: &str = "Make a meter with this event name in the Stripe dashboard, or correct USAGE_STRIPE_METERS";
/// Everything but the name of a meter is for good.
const ANEW: &str = "Deactivate it, and make another one: formula sum, raw events, keys stripe_customer_id and value";

pub async fn diagnose(app: &App) -> Vec<Finding> {
    let settings = app.settings::<Settings>();
    let Some(stripe) = billing::stripe(app).filter(|_| settings.reports(true)) else { return Vec::new() };
    let all = match stripe.operation_within(LIMIT).meters().await {
        Ok(all) => all,
        Err(error) => {
            let remedy = match error.status {
                Some(StatusCode::UNAUTHORIZED) => "Check STRIPE_SECRET_KEY against the API keys in the Stripe dashboard",
                Some(StatusCode::FORBIDDEN) => "Give the restricted key permission to read meters and to write meter events",
                _ => "Check STRIPE_API_BASE and the network; Stripe's status page may say more",
            };
            return vec![Finding::warn(WHAT, format!("the meters of Stripe cannot be read ({error})"), remedy)];
        }
    };
    let found: Vec<Finding> = settings.meters.iter().flat_map(|meter| of_meter(meter, &all)).collect();
    if found.is_empty() {
        return vec![Finding::ok(WHAT, format!("usage is reported to {} of Stripe's meters", settings.meters.len()))];
    }
    found
}

fn of_meter(configured: &Meter, all: &[Value]) -> Vec<Finding> {
    let Meter { metric, event_name } = configured;
    let warn = |text: String, remedy| Finding::warn(WHAT, format!("{}: {text}", metric.name()), remedy);
    let named: Vec<&Value> = all.iter().filter(|meter| meter["event_name"] == event_name.as_str()).collect();
    let Some(meter) = named.iter().find(|meter| meter["status"] == "active") else {
        let text = if named.is_empty() { "Stripe has no meter of the event name" } else { "Stripe's meter is not active: event name" };
        return vec![warn(format!("{text} {event_name}"), MAKE)];
    };
    let mut found = Vec::new();
    let mut expect = |value: &Value, wanted: &str, is: &str| {
        if *value != wanted {
            found.push(warn(format!("the meter {event_name} {is}"), ANEW));
        }
    };
    expect(&meter["default_aggregation"]["formula"], "sum", "does not sum up the values of its events");
    expect(&meter["value_settings"]["event_payload_key"], "value", "does not read the quantity from `value`");
    expect(&meter["customer_mapping"]["event_payload_key"], "stripe_customer_id", "does not read the customer from `stripe_customer_id`");
    // Of events that are told to be sums already, only the last one of an hour or day counts.
    if !meter["event_time_window"].is_null() {
        found.push(warn(format!("the meter {event_name} takes sums of an hour or day, of which only the last one counts"), ANEW));
    }
    found
}
