//! What a purchase, or the type of a notification, says about a subscription.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::kinds::Effect;
use crate::features::subscriptions::model::{CancelAt, Plan, Snapshot, Status, Subscription, Vendor};
use crate::providers::payments::google::{Purchase, State};

/// The state of a purchase; `None` is one that Google has dropped long after its end. `before` is the stored subscription.
pub fn of_purchase(purchase_token: &str, purchase: Option<&Purchase>, before: Option<&Subscription>, now: DateTime<Utc>) -> Snapshot {
    let Some(purchase) = purchase else {
        return Snapshot { status: Some(Status::Canceled), ..unchanged(purchase_token, json!({"gone": true})) };
    };
    let product = purchase.last_line().map(|line| line.product.clone());
    let expires = purchase.expires();
    let status = match &purchase.state {
        State::Active | State::InGracePeriod => Some(Status::Active),
        State::Canceled if purchase.has_ended(now) => Some(Status::Canceled),
        State::Canceled => Some(Status::Active),
        State::OnHold => Some(Status::PastDue),
        State::Paused | State::Pending => Some(Status::Incomplete),
        State::Expired => Some(Status::Canceled),
        State::PendingPurchaseCanceled | State::Other(_) => None,
    };
    Snapshot {
        plan: match purchase.state {
            State::Active | State::InGracePeriod | State::Canceled => Some(plan(purchase, now)),
            State::OnHold | State::Paused => kept(before, product.as_deref()),
            _ => None,
        },
        cancel_at: match (&purchase.state, expires) {
            (State::Canceled, Some(end)) => CancelAt::At(end),
            (State::Active | State::InGracePeriod, _) => CancelAt::Never,
            _ => CancelAt::Unchanged,
        },
        product,
        status,
        current_period_end: expires,
        ..unchanged(purchase_token, purchase.raw.clone())
    }
}

/// The state that follows from a type alone.
pub fn of_effect(purchase_token: &str, effect: Effect, product: Option<String>, before: Option<&Subscription>) -> Snapshot {
    let product = product.or_else(|| before.and_then(|row| row.product.clone()));
    let end = before.and_then(|row| row.current_period_end);
    Snapshot {
        status: Some(effect.status),
        plan: if effect.keeps_plan { kept(before, product.as_deref()) } else { Some(of_product(product.as_deref())) },
        cancel_at: match (effect.ends, end) {
            (Some(false), _) => CancelAt::Never,
            (Some(true), Some(end)) => CancelAt::At(end),
            _ => CancelAt::Unchanged,
        },
        product: product.clone(),
        ..unchanged(purchase_token, json!({"notification": {"status": effect.status.name(), "subscriptionId": product}}))
    }
}

fn unchanged(purchase_token: &str, raw: serde_json::Value) -> Snapshot {
    Snapshot {
        vendor: Vendor::Google,
        external_id: purchase_token.to_owned(),
        product: None,
        status: None,
        plan: None,
        current_period_end: None,
        cancel_at: CancelAt::Unchanged,
        transaction_id: None,
        raw,
    }
}

/// The best plan of the lines that have not ended; all lines count if all have.
fn plan(purchase: &Purchase, now: DateTime<Utc>) -> Plan {
    let of = |line: &crate::providers::payments::google::Line| Plan::of_product(&line.product);
    let running = purchase.lines.iter().filter(|line| line.expires.is_none_or(|end| end > now)).map(of).max();
    running.or_else(|| purchase.lines.iter().map(of).max()).unwrap_or(of_product(None))
}

fn of_product(product: Option<&str>) -> Plan {
    Plan::of_product(product.unwrap_or_default())
}

/// The plan of a suspended subscription: the stored one. A subscription whose beginning is not known yet has its product's plan,
/// because its earlier notifications may come later.
fn kept(before: Option<&Subscription>, product: Option<&str>) -> Option<Plan> {
    match before.map(|row| row.plan) {
        None | Some(Plan::Free) => Some(of_product(product)),
        Some(_) => None,
    }
}
