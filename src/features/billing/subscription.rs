//! Reads subscriptions of Stripe, of every version of its API. A member that is missing, null or renamed refuses nothing.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::features::subscriptions::model::{CancelAt, Plan, Snapshot, Status, Vendor};
use crate::providers::payments::stripe::{Config, read};

/// Order of events of the same second.
pub const CREATED: i16 = 0;
pub const UPDATED: i16 = 1;
pub const ENDED: i16 = 2;

/// The state of a subscription; `None` without an id.
pub fn snapshot(config: &Config, object: &Value) -> Option<Snapshot> {
    let external_id = read::text(object, "id")?.to_owned();
    let price = price(config, object);
    let status = status(object);
    let plan = match status {
        Some(Status::Active | Status::Trialing) => Some(plan(config, price)),
        Some(Status::Canceled) => Some(Plan::Free),
        // Kept: a payment may still come.
        Some(Status::PastDue | Status::Incomplete) | None => None,
    };
    Some(Snapshot {
        vendor: Vendor::Stripe,
        external_id,
        product: price.map(str::to_owned),
        status,
        plan,
        current_period_end: period_end(object),
        cancel_at: cancel_at(object),
        transaction_id: None,
        raw: without_secrets(object.clone()),
    })
}

/// The state of a subscription that has ended, whatever its object says.
pub fn ended(mut snapshot: Snapshot) -> Snapshot {
    snapshot.status = Some(Status::Canceled);
    snapshot.plan = Some(Plan::Free);
    snapshot
}

/// Whether the subscription gives its plan: `active` or `trialing`.
pub fn is_running(object: &Value) -> bool {
    matches!(status(object), Some(Status::Active | Status::Trialing))
}

/// Whether the customer wants it to end. Flexible billing sets only `cancel_at`.
pub fn is_set_to_cancel(object: &Value) -> bool {
    object["cancel_at_period_end"] == true || read::time(object, "cancel_at").is_some()
}

/// End of the time that is paid: of the subscription, or since 2025-03-31.basil the latest of its items.
pub fn period_end(object: &Value) -> Option<DateTime<Utc>> {
    let of_items = || items(object).iter().filter_map(|item| read::time(item, "current_period_end")).max();
    read::time(object, "current_period_end").or_else(of_items)
}

fn items(object: &Value) -> &[Value] {
    read::list(&object["items"])
}

fn status(object: &Value) -> Option<Status> {
    match read::text(object, "status") {
        Some("active") => Some(Status::Active),
        Some("trialing") => Some(Status::Trialing),
        Some("past_due") => Some(Status::PastDue),
        Some("incomplete" | "paused") => Some(Status::Incomplete),
        Some("canceled" | "unpaid" | "incomplete_expired") => Some(Status::Canceled),
        other => {
            tracing::warn!(status = other.unwrap_or("none"), "Stripe sent a subscription of an unknown status: its status is kept");
            None
        }
    }
}

/// The price that decides the plan: one that is configured, else the first.
fn price<'v>(config: &Config, object: &'v Value) -> Option<&'v str> {
    let of = |item: &'v Value| read::reference(item, "price").or_else(|| read::reference(item, "plan"));
    let prices: Vec<&str> = items(object).iter().chain([object]).filter_map(of).collect();
    let is_pro = |price: &str| [&config.price_monthly, &config.price_yearly].into_iter().any(|known| known.as_deref() == Some(price));
    let find = |known: &dyn Fn(&str) -> bool| prices.iter().copied().find(|price| known(price));
    find(&|price| is_enterprise(config, price)).or_else(|| find(&is_pro)).or_else(|| prices.first().copied())
}

fn is_enterprise(config: &Config, price: &str) -> bool {
    config.prices_enterprise.iter().any(|known| known == price)
}

fn plan(config: &Config, price: Option<&str>) -> Plan {
    match price {
        Some(price) if is_enterprise(config, price) => Plan::Enterprise,
        Some(price) if config.price_monthly.as_deref() == Some(price) || config.price_yearly.as_deref() == Some(price) => Plan::Pro,
        other => {
            tracing::warn!(price = other.unwrap_or("none"), "a subscription has a price that is not configured: it counts as plan pro");
            Plan::Pro
        }
    }
}

/// When the subscription ends by the customer's wish.
fn cancel_at(object: &Value) -> CancelAt {
    let flag = object["cancel_at_period_end"].as_bool();
    match (read::time(object, "cancel_at"), flag) {
        (Some(time), _) => CancelAt::At(time),
        (None, Some(true)) => period_end(object).map_or(CancelAt::Unchanged, CancelAt::At),
        (None, Some(false)) => CancelAt::Never,
        (None, None) if object.get("cancel_at").is_some_and(Value::is_null) => CancelAt::Never,
        (None, None) => CancelAt::Unchanged,
    }
}

/// Removes what lets its holder confirm a payment; it is in objects that were expanded.
fn without_secrets(object: Value) -> Value {
    match object {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, _)| name != "client_secret");
            Value::Object(kept.map(|(name, value)| (name, without_secrets(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_secrets).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Config {
        let text = |text: &str| Some(text.to_owned());
        Config {
            secret_key: None,
            webhook_secrets: Vec::new(),
            price_monthly: text("price_month"),
            price_yearly: text("price_year"),
            prices_enterprise: vec!["price_big".to_owned()],
            api_base: None,
        }
    }

    fn object(status: &str, price: &str) -> Value {
        json!({"id": "sub_1", "status": status, "cancel_at_period_end": false, "current_period_end": 1000, "items": {"data": [{"price": {"id": price}}]}})
    }

    fn state(object: &Value) -> Snapshot {
        snapshot(&config(), object).unwrap()
    }

    fn seconds(time: Option<DateTime<Utc>>) -> Option<i64> {
        time.map(|time| time.timestamp())
    }

    #[test]
    fn status_decides_whether_the_plan_is_kept() {
        for (status, ours, plan) in [
            ("active", Some(Status::Active), Some(Plan::Pro)),
            ("trialing", Some(Status::Trialing), Some(Plan::Pro)),
            ("past_due", Some(Status::PastDue), None),
            ("incomplete", Some(Status::Incomplete), None),
            ("paused", Some(Status::Incomplete), None),
            ("canceled", Some(Status::Canceled), Some(Plan::Free)),
            ("unpaid", Some(Status::Canceled), Some(Plan::Free)),
            ("incomplete_expired", Some(Status::Canceled), Some(Plan::Free)),
            ("a_status_of_the_future", None, None),
        ] {
            let snapshot = state(&object(status, "price_month"));
            assert_eq!((snapshot.status, snapshot.plan), (ours, plan), "{status}");
        }
    }

    #[test]
    fn plan_follows_the_price() {
        for (price, plan) in
            [("price_month", Plan::Pro), ("price_year", Plan::Pro), ("price_big", Plan::Enterprise), ("price_x", Plan::Pro)]
        {
            let snapshot = state(&object("active", price));
            assert_eq!((snapshot.plan, snapshot.product.as_deref()), (Some(plan), Some(price)));
        }
        let several =
            json!({"id": "sub_1", "status": "active", "items": {"data": [{"price": "price_seat"}, {"price": {"id": "price_big"}}]}});
        assert_eq!(state(&several).plan, Some(Plan::Enterprise));
        let old = json!({"id": "sub_1", "status": "active", "plan": {"id": "price_big"}});
        assert_eq!(state(&old).plan, Some(Plan::Enterprise));
    }

    #[test]
    fn period_end_is_of_the_subscription_or_its_latest_item() {
        assert_eq!(seconds(period_end(&object("active", "price_x"))), Some(1000));
        let items = json!({"items": {"data": [{"current_period_end": 10}, {"current_period_end": 30}, {"current_period_end": null}, {}]}});
        assert_eq!(seconds(period_end(&items)), Some(30));
        for object in [json!({}), json!({"items": null}), json!({"items": {"data": 5}}), json!({"current_period_end": "soon"})] {
            assert_eq!(period_end(&object), None, "{object}");
        }
    }

    #[test]
    fn cancellation_is_a_flag_or_a_time() {
        let at = |seconds| CancelAt::At(DateTime::from_timestamp(seconds, 0).unwrap());
        for (marks, wanted, set) in [
            (json!({"cancel_at_period_end": false, "cancel_at": null}), CancelAt::Never, false),
            (json!({"cancel_at_period_end": false}), CancelAt::Never, false),
            (json!({"cancel_at": null}), CancelAt::Never, false),
            (json!({"cancel_at_period_end": true}), at(1000), true),
            (json!({"cancel_at": 2000}), at(2000), true),
            (json!({"cancel_at_period_end": true, "cancel_at": 1000}), at(1000), true),
            (json!({}), CancelAt::Unchanged, false),
            (json!({"cancel_at": "renamed", "cancel_at_period_end": "yes"}), CancelAt::Unchanged, false),
        ] {
            let mut object = json!({"id": "sub_1", "status": "active", "current_period_end": 1000});
            object.as_object_mut().unwrap().extend(marks.as_object().unwrap().clone());
            assert_eq!((state(&object).cancel_at, is_set_to_cancel(&object)), (wanted, set), "{marks}");
        }
    }

    #[test]
    fn missing_and_renamed_members_refuse_nothing() {
        let full = object("active", "price_month");
        for name in full.as_object().unwrap().keys() {
            for value in [None, Some(Value::Null), Some(json!({"a": [1]})), Some(json!(7)), Some(json!("text")), Some(json!([]))] {
                let mut object = full.clone();
                match value {
                    Some(value) => object[name] = value,
                    None => drop(object.as_object_mut().unwrap().remove(name)),
                }
                assert_eq!(snapshot(&config(), &object).is_none(), read::text(&object, "id").is_none(), "{object}");
            }
        }
        assert!(snapshot(&config(), &json!(null)).is_none());
    }

    #[test]
    fn raw_object_has_no_client_secret() {
        let mut expanded = object("active", "price_x");
        expanded["latest_invoice"] =
            json!({"payment_intent": {"id": "pi_1", "client_secret": "pi_1_secret"}, "list": [{"client_secret": "x"}]});
        let raw = state(&expanded).raw;
        assert!(!raw.to_string().contains("secret") && raw["latest_invoice"]["payment_intent"]["id"] == "pi_1");
    }
}
