//! What happens to a subscription: bought, renewed, not paid, set to cancel, resumed, ended. Each change emits its events.

use serde_json::{Value, json};

use super::objects;
use super::refusal::Refusal;
use super::settings::Price;
use super::world::{Kind, World};

/// Periods that one advance of time renews at most.
const RENEWALS: usize = 100;

/// When a subscription is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    AtPeriodEnd,
    At(i64),
    /// Clears the flag. With flexible billing a time stays, as at Stripe.
    NotAtPeriodEnd,
    /// Clears both marks.
    Never,
}

/// The latest end of the paid periods.
pub fn period_end(subscription: &Value) -> i64 {
    let items = subscription["items"]["data"].as_array().into_iter().flatten();
    let ends = items.chain([subscription]).filter_map(|holder| holder["current_period_end"].as_i64());
    ends.max().unwrap_or_default()
}

fn set_period(subscription: &mut Value, start: i64, end: i64) {
    let holder = if subscription["current_period_end"].is_null() { &mut subscription["items"]["data"][0] } else { &mut *subscription };
    holder["current_period_start"] = start.into();
    holder["current_period_end"] = end.into();
}

pub fn has_ended(subscription: &Value) -> bool {
    matches!(subscription["status"].as_str(), Some("canceled" | "incomplete_expired"))
}

pub fn is_set_to_cancel(subscription: &Value) -> bool {
    subscription["cancel_at_period_end"] == true || !subscription["cancel_at"].is_null()
}

/// Completes a checkout: the subscription is made, paid for and active. Returns the subscription's id.
pub fn buy(world: &mut World, checkout: &str) -> Result<String, Refusal> {
    let session = world.get(Kind::Checkout, checkout, "id")?.clone();
    if session["status"] != "open" {
        return Err(Refusal::state("The checkout is not open."));
    }
    let order = world.orders.get(checkout).cloned().ok_or_else(|| Refusal::missing("order", checkout, "id"))?;
    let price = world.price(&order.price, "price")?.clone();
    let customer = world.customer(session["customer"].as_str().unwrap_or_default(), "customer")?.clone();
    let classic = world.is_classic();
    let made = objects::subscription(world.now(), &customer, &order, &price, classic);
    let made = world.add(Kind::Subscription, made);
    let id = made["id"].as_str().unwrap_or_default().to_owned();
    world.emit("customer.subscription.created", &made);
    let invoice = bill(world, &made, true);
    world.emit("invoice.paid", &invoice);
    update(world, &id, |subscription| {
        subscription["status"] = "active".into();
        subscription["latest_invoice"] = invoice["id"].clone();
    })?;
    let completed = world.change(Kind::Checkout, checkout, |session| {
        session["status"] = "complete".into();
        session["payment_status"] = "paid".into();
        session["subscription"] = id.as_str().into();
        session["invoice"] = invoice["id"].clone();
    })?;
    world.emit("checkout.session.completed", &completed);
    Ok(id)
}

fn bill(world: &mut World, subscription: &Value, paid: bool) -> Value {
    let number = world.all(Kind::Invoice).len() + 1;
    let invoice = objects::invoice(world.now(), number, subscription, paid, world.is_classic());
    world.add(Kind::Invoice, invoice)
}

/// Changes a subscription and emits `customer.subscription.updated`, unless nothing changed.
pub fn update(world: &mut World, id: &str, change: impl FnOnce(&mut Value)) -> Result<Value, Refusal> {
    let before = world.get(Kind::Subscription, id, "id")?.clone();
    let after = world.change(Kind::Subscription, id, change)?;
    let changed = before.as_object().into_iter().flatten().filter(|(name, value)| after[name.as_str()] != **value);
    let changed: serde_json::Map<_, _> = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
    if !changed.is_empty() {
        world.emit_change("customer.subscription.updated", &after, changed.into());
    }
    Ok(after)
}

/// Sets or clears the marks of a cancellation.
pub fn cancel(world: &mut World, id: &str, when: Cancel) -> Result<Value, Refusal> {
    refuse_ended(world, id)?;
    let (now, classic) = (world.now(), world.is_classic());
    update(world, id, |subscription| {
        match when {
            Cancel::AtPeriodEnd => {
                subscription["cancel_at"] = period_end(subscription).into();
                subscription["cancel_at_period_end"] = classic.into();
            }
            Cancel::At(time) => {
                subscription["cancel_at"] = time.into();
                subscription["cancel_at_period_end"] = false.into();
            }
            Cancel::NotAtPeriodEnd if classic && subscription["cancel_at_period_end"] == true => clear_marks(subscription),
            Cancel::NotAtPeriodEnd => {}
            Cancel::Never => clear_marks(subscription),
        }
        subscription["canceled_at"] = if is_set_to_cancel(subscription) { now.into() } else { Value::Null };
    })
}

fn clear_marks(subscription: &mut Value) {
    subscription["cancel_at"] = Value::Null;
    subscription["cancel_at_period_end"] = false.into();
}

/// Sells another price from now on.
pub fn reprice(world: &mut World, id: &str, price: &Price) -> Result<Value, Refusal> {
    refuse_ended(world, id)?;
    let price = objects::price(price);
    update(world, id, |subscription| subscription["items"]["data"][0]["price"] = price)
}

/// Ends a subscription now.
pub fn end(world: &mut World, id: &str) -> Result<Value, Refusal> {
    if has_ended(world.get(Kind::Subscription, id, "id")?) {
        return Err(Refusal::missing(Kind::Subscription.noun(), id, "id"));
    }
    let now = world.now();
    let ended = world.change(Kind::Subscription, id, |subscription| {
        subscription["status"] = "canceled".into();
        subscription["ended_at"] = now.into();
        subscription["canceled_at"] = now.into();
        subscription["cancellation_details"]["reason"] = "cancellation_requested".into();
    })?;
    world.emit("customer.subscription.deleted", &ended);
    Ok(ended)
}

/// Starts the next period, whose payment succeeds or fails.
pub fn renew(world: &mut World, id: &str, paid: bool) -> Result<Value, Refusal> {
    let subscription = refuse_ended(world, id)?;
    let price = subscription["items"]["data"][0]["price"]["id"].as_str().unwrap_or_default();
    let start = period_end(&subscription);
    let end = objects::period_end(start, world.price(price, "price")?);
    let invoice = bill(world, &subscription, paid);
    world.emit(if paid { "invoice.paid" } else { "invoice.payment_failed" }, &invoice);
    update(world, id, |subscription| {
        set_period(subscription, start, end);
        subscription["status"] = if paid { "active" } else { "past_due" }.into();
        subscription["latest_invoice"] = invoice["id"].clone();
    })
}

/// Lets the payment of the next period fail, as if the period ended now.
pub fn fail_payment(world: &mut World, id: &str) -> Result<Value, Refusal> {
    let left = period_end(&refuse_ended(world, id)?) - world.now();
    move_back(world, id, left.max(0))?;
    renew(world, id, false)
}

/// Pays the newest invoice of a subscription that is past due.
pub fn pay(world: &mut World, id: &str) -> Result<Value, Refusal> {
    let subscription = refuse_ended(world, id)?;
    let (Some(invoice), "past_due") = (subscription["latest_invoice"].as_str(), subscription["status"].as_str().unwrap_or_default()) else {
        return Err(Refusal::state("The subscription has no open invoice."));
    };
    let now = world.now();
    let paid = world.change(Kind::Invoice, invoice, |invoice| {
        invoice["status"] = "paid".into();
        invoice["amount_paid"] = invoice["amount_due"].clone();
        invoice["amount_remaining"] = 0.into();
        invoice["status_transitions"]["paid_at"] = now.into();
    })?;
    world.emit("invoice.paid", &paid);
    update(world, id, |subscription| subscription["status"] = "active".into())
}

/// Lets time pass for all subscriptions: their times move back, because the clock of the server that we deliver to does not
/// move. A period that has ended is renewed, or ends the subscription if it is set to cancel.
pub fn advance(world: &mut World, seconds: i64) -> Result<(), Refusal> {
    let running = world.all(Kind::Subscription).iter().filter(|subscription| !has_ended(subscription));
    let ids: Vec<String> = running.filter_map(|subscription| subscription["id"].as_str().map(str::to_owned)).collect();
    for id in ids {
        let mut subscription = move_back(world, &id, seconds)?;
        for _ in 0..RENEWALS {
            let cancel_at = subscription["cancel_at"].as_i64();
            if cancel_at.is_some_and(|time| time <= world.now()) {
                end(world, &id)?;
                break;
            }
            if period_end(&subscription) > world.now() {
                break;
            }
            subscription = renew(world, &id, subscription["status"] != "past_due")?;
        }
    }
    Ok(())
}

/// Moves the times of a subscription back, without an event.
fn move_back(world: &mut World, id: &str, seconds: i64) -> Result<Value, Refusal> {
    const TIMES: [&str; 7] =
        ["created", "start_date", "billing_cycle_anchor", "cancel_at", "canceled_at", "current_period_start", "current_period_end"];
    let shift = |holder: &mut Value| {
        for name in TIMES {
            if let Some(time) = holder[name].as_i64() {
                holder[name] = json!(time - seconds);
            }
        }
    };
    world.change(Kind::Subscription, id, |subscription| {
        shift(subscription);
        shift(&mut subscription["items"]["data"][0]);
    })
}

/// The subscription, unless it has ended.
fn refuse_ended(world: &World, id: &str) -> Result<Value, Refusal> {
    let subscription = world.get(Kind::Subscription, id, "id")?;
    if has_ended(subscription) {
        return Err(Refusal::state("The subscription has ended."));
    }
    Ok(subscription.clone())
}
