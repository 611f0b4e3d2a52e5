//! Stripe as a sender of webhooks: verification, shape and effects of its events.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::service::customers;
use super::state::State;
use super::subscription;
use crate::app::App;
use crate::features::subscriptions::model::{Applied, Snapshot, Told, Vendor};
use crate::features::subscriptions::service as subscriptions;
use crate::features::users::service::vendors::{self, Column};
use crate::features::webhooks::service::bad_signature;
use crate::features::webhooks::{Current, Delivery, Event, Opened, Sender, Step};
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::providers::payments::stripe::{Config, NAME, SIGNATURE, Signature, read};

const SECRET: &str = "STRIPE_WEBHOOK_SECRET";
const CHECKOUT_COMPLETED: &str = "checkout.session.completed";
const SUBSCRIPTION_CREATED: &str = "customer.subscription.created";
const SUBSCRIPTION_UPDATED: &str = "customer.subscription.updated";
const SUBSCRIPTION_DELETED: &str = "customer.subscription.deleted";
const INVOICE_PAID: &str = "invoice.paid";
const INVOICE_FAILED: &str = "invoice.payment_failed";
const CUSTOMER_DELETED: &str = "customer.deleted";
const METER_ERROR: &str = "v1.billing.meter.error_report_triggered";
const METER_MISSING: &str = "v1.billing.meter.no_meter_found";

/// The events that a webhook endpoint must send for the state to be right.
pub const NEEDED: [&str; 7] =
    [CHECKOUT_COMPLETED, SUBSCRIPTION_CREATED, SUBSCRIPTION_UPDATED, SUBSCRIPTION_DELETED, INVOICE_PAID, INVOICE_FAILED, CUSTOMER_DELETED];
const KINDS: [&str; 9] = [
    CHECKOUT_COMPLETED,
    SUBSCRIPTION_CREATED,
    SUBSCRIPTION_UPDATED,
    SUBSCRIPTION_DELETED,
    INVOICE_PAID,
    INVOICE_FAILED,
    CUSTOMER_DELETED,
    METER_ERROR,
    METER_MISSING,
];

pub struct StripeEvents;

#[async_trait]
impl Sender for StripeEvents {
    fn provider(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [&'static str] {
        &KINDS
    }

    async fn open(&self, app: &App, delivery: Delivery<'_>) -> Result<Opened> {
        let secrets = &app.settings::<Config>().webhook_secrets;
        if secrets.is_empty() {
            return Err(Error::Unavailable { message: "The webhook of Stripe is not configured", retry_after: None });
        }
        let header = delivery.headers.get(SIGNATURE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let verified = Signature::parse(header).and_then(|signature| signature.verify(delivery.body, secrets, app.clock.now()));
        verified.map_err(|why| bad_signature(app, NAME, SECRET, why))?;
        event(delivery.body).map(Opened::Event).ok_or_else(|| Error::BadRequest("The body is not an event of Stripe".to_owned()))
    }

    fn reads_first(&self, app: &App, event: &Event) -> bool {
        event.kind == CHECKOUT_COMPLETED && can_ask(app) && subscription_id(event).is_some()
    }

    async fn read(&self, app: &App, event: &Event) -> Result<Current> {
        let (Some(stripe), Some(id)) = (&app.state::<State>().stripe, subscription_id(event)) else { return Ok(None) };
        match stripe.operation().subscription(id).await {
            Ok(reply) => Ok(Some(reply.object)),
            // A key of another account finds nothing, so this is no state. The event itself decides.
            Err(error) if error.is_missing() => {
                tracing::warn!(subscription = id, "Stripe does not have the subscription of an event");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn apply(&self, app: &App, tx: &mut Tx, event: &Event, current: Option<&Current>) -> Result<Step> {
        match event.kind.as_str() {
            CHECKOUT_COMPLETED => checkout_completed(app, tx, event, current.and_then(Option::as_ref)).await,
            SUBSCRIPTION_CREATED | SUBSCRIPTION_UPDATED | SUBSCRIPTION_DELETED => subscription_event(app, tx, event, current).await,
            CUSTOMER_DELETED => customer_deleted(app, tx, event).await,
            METER_ERROR | METER_MISSING => {
                app.state::<State>().meter_reports.with_label_values(&[event.kind.as_str()]).inc();
                let (meter, summary) =
                    (read::text(&event.payload["related_object"], "id"), read::text(&event.payload["data"], "developer_message_summary"));
                tracing::warn!(meter, summary, "Stripe did not accept usage events of a meter");
                Ok(Step::Done)
            }
            kind => {
                let (customer, invoice) = (read::reference(&event.payload, "customer"), read::text(&event.payload, "id"));
                tracing::info!(kind, customer, id = invoice, "event of Stripe without effect");
                Ok(Step::Done)
            }
        }
    }
}

fn can_ask(app: &App) -> bool {
    app.state::<State>().stripe.is_some()
}

/// Reads an event. `None` if it lacks what every event has.
fn event(body: &[u8]) -> Option<Event> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    let (id, kind) = (read::text(&body, "id")?.to_owned(), read::text(&body, "type")?.to_owned());
    // Events of version 2 have no object, and write their time as text.
    if body["object"] == "v2.core.event" {
        let occurred_at = read::text(&body, "created").and_then(|time| DateTime::parse_from_rfc3339(time).ok());
        return Some(Event { id, kind, occurred_at: occurred_at.map(|time| time.to_utc()), payload: body });
    }
    let occurred_at = read::time(&body, "created");
    let payload = body.get_mut("data")?.get_mut("object").filter(|object| object.is_object())?.take();
    Some(Event { id, kind, payload, occurred_at })
}

/// The subscription that an event is about.
fn subscription_id(event: &Event) -> Option<&str> {
    if event.kind == CHECKOUT_COMPLETED { read::reference(&event.payload, "subscription") } else { read::text(&event.payload, "id") }
}

fn occurred_at(app: &App, event: &Event) -> DateTime<Utc> {
    event.occurred_at.unwrap_or_else(|| app.clock.now())
}

/// Links the customer to the user, and applies the subscription as it was read from Stripe.
async fn checkout_completed(app: &App, tx: &mut Tx, event: &Event, current: Option<&Value>) -> Result<Step> {
    let checkout = &event.payload;
    let (Some(customer), Some(_)) = (read::reference(checkout, "customer"), subscription_id(event)) else { return Ok(Step::Done) };
    let named = read::text(checkout, "client_reference_id").or_else(|| read::text(&checkout["metadata"], "user_id"));
    let Some(user) = user_of(app, tx, Some(customer), named).await? else { return Ok(nobody(event)) };
    if let Some(snapshot) = current.and_then(|current| subscription::snapshot(app.settings::<Config>(), current)) {
        let told = Told { at: occurred_at(app, event), rank: subscription::UPDATED, current: true };
        subscriptions::apply(app, tx, &user, &snapshot, told, false).await?;
    }
    Ok(Step::Done)
}

/// Applies the subscription in the event; of two events of the same second, the subscription as Stripe has it now.
async fn subscription_event(app: &App, tx: &mut Tx, event: &Event, current: Option<&Current>) -> Result<Step> {
    let config = app.settings::<Config>();
    let Some(told) = subscription::snapshot(config, &event.payload) else { return Ok(Step::Done) };
    let Some(user) = owner_of(app, tx, event, &told).await? else { return Ok(nobody(event)) };
    let at = occurred_at(app, event);
    if let Some(now) = current.and_then(Option::as_ref).and_then(|current| subscription::snapshot(config, current)) {
        let told = Told { at, rank: subscription::UPDATED, current: true };
        subscriptions::apply(app, tx, &user, &now, told, false).await?;
        return Ok(Step::Done);
    }
    let (rank, snapshot) = match event.kind.as_str() {
        SUBSCRIPTION_CREATED => (subscription::CREATED, told),
        SUBSCRIPTION_DELETED => (subscription::ENDED, subscription::ended(told)),
        _ => (subscription::UPDATED, told),
    };
    let ask = current.is_none() && can_ask(app);
    match subscriptions::apply(app, tx, &user, &snapshot, Told { at, rank, current: false }, ask).await? {
        Applied::Tie => Ok(Step::Read),
        Applied::Changed | Applied::Unchanged => Ok(Step::Done),
    }
}

/// Forgets the customer, so that the next checkout makes a new one.
async fn customer_deleted(app: &App, tx: &mut Tx, event: &Event) -> Result<Step> {
    let Some(customer) = read::text(&event.payload, "id") else { return Ok(Step::Done) };
    match vendors::find(&mut *tx, Column::StripeCustomer, customer).await? {
        Some(user) => customers::forget_in(app, tx, &user, customer).await?,
        None => return Ok(nobody(event)),
    }
    Ok(Step::Done)
}

/// The user of a subscription: its owner if it is known, else by customer, else by its metadata.
async fn owner_of(app: &App, tx: &mut Tx, event: &Event, subscription: &Snapshot) -> Result<Option<UserId>> {
    if let Some(known) = subscriptions::find(&mut *tx, Vendor::Stripe, &subscription.external_id).await? {
        return Ok(Some(known.user_id));
    }
    let object = &event.payload;
    user_of(app, tx, read::reference(object, "customer"), read::text(&object["metadata"], "user_id")).await
}

/// The user of a customer; else the user that the object names, who then gets the customer.
async fn user_of(app: &App, tx: &mut Tx, customer: Option<&str>, named: Option<&str>) -> Result<Option<UserId>> {
    if let Some(customer) = customer
        && let Some(user) = vendors::find(&mut *tx, Column::StripeCustomer, customer).await?
    {
        return Ok(Some(user));
    }
    let Some(user) = named.and_then(UserId::parse) else { return Ok(None) };
    if vendors::of(&mut *tx, &user).await?.is_none() {
        return Ok(None);
    }
    if let Some(customer) = customer {
        customers::link_in(app, tx, &user, customer).await?;
    }
    Ok(Some(user))
}

fn nobody(event: &Event) -> Step {
    let customer = read::reference(&event.payload, "customer").or_else(|| read::text(&event.payload, "id"));
    tracing::warn!(event_type = event.kind, customer, "an event of Stripe is about no user of this service");
    Step::Done
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: &Value) -> Option<Event> {
        event(body.to_string().as_bytes())
    }

    #[test]
    fn event_needs_id_type_and_object() {
        let good =
            json!({"id": "evt_1", "type": "invoice.paid", "created": 5, "data": {"object": {"id": "in_1"}, "previous_attributes": {}}});
        let read = parse(&good).unwrap();
        assert_eq!((read.id.as_str(), read.kind.as_str(), &read.payload), ("evt_1", "invoice.paid", &json!({"id": "in_1"})));
        assert_eq!(read.occurred_at.map(|time| time.timestamp()), Some(5));
        for (name, value) in [
            ("id", json!("")),
            ("id", json!(5)),
            ("type", json!(null)),
            ("data", json!(7)),
            ("data", json!({"object": []})),
            ("data", json!({})),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(parse(&bad).is_none(), "{bad}");
        }
        for body in ["", "{", "[]", "null", "5", "{}"] {
            assert!(event(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn event_of_version_two_has_no_object() {
        let event =
            json!({"id": "evt_1", "object": "v2.core.event", "type": "v2.core.account.updated", "created": "2026-11-27T10:00:00.000Z"});
        let read = parse(&event).unwrap();
        assert_eq!((&read.payload, read.occurred_at.map(|time| time.to_rfc3339())), (&event, Some("2026-11-27T10:00:00+00:00".to_owned())));
    }

    #[test]
    fn event_nested_too_deeply_is_refused() {
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        assert!(event(format!(r#"{{"id": "evt_1", "type": "x", "data": {{"object": {{"a": {deep}}}}}}}"#).as_bytes()).is_none());
    }
}
