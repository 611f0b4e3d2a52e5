//! The calls to Stripe's API: typed requests where `async-stripe` has them.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use stripe_billing::billing_meter::ListBillingMeter;
use stripe_billing::billing_meter_event::CreateBillingMeterEvent;
use stripe_billing::billing_meter_event_summary::ListIdBillingMeterEventSummary;
use stripe_billing::billing_portal_session::CreateBillingPortalSession;
use stripe_billing::invoice::ListInvoice;
use stripe_billing::subscription::{
    CancelSubscription, ListSubscription, ListSubscriptionStatus, RetrieveSubscription, UpdateSubscription,
};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionSubscriptionData, ListCheckoutSession,
};
use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};
use stripe_core::customer::CreateCustomer;
use stripe_shared::CheckoutSessionMode;

use super::client::Operation;
use super::{MeterEvent, MeterSpan, NewCheckout, NewCustomer, Reply, StripeError, read};

/// Number of checkouts that are looked at for an open one; they expire after a day.
const CHECKOUTS: i64 = 20;
const WEBHOOK_ENDPOINTS: i64 = 100;
/// Meters in a page, and the number of pages that are read.
const METERS: i64 = 100;
const METER_PAGES: usize = 10;

impl Operation<'_> {
    /// `key` makes the same customer of a repeated call for a day.
    pub async fn create_customer(&self, new: &NewCustomer<'_>, key: &str) -> Result<Value, StripeError> {
        let mut request = CreateCustomer::new().email(new.email).metadata(metadata(new.user_id));
        if let Some(name) = new.name {
            request = request.name(name);
        }
        Ok(self.send("create_customer", request.build(), Some(key)).await?.object)
    }

    pub async fn create_checkout(&self, new: &NewCheckout<'_>, key: &str) -> Result<Value, StripeError> {
        let line = CreateCheckoutSessionLineItems {
            price: Some(new.price.to_owned()),
            quantity: Some(1),
            ..CreateCheckoutSessionLineItems::new()
        };
        let subscription =
            CreateCheckoutSessionSubscriptionData { metadata: Some(metadata(new.user_id)), ..CreateCheckoutSessionSubscriptionData::new() };
        let request = CreateCheckoutSession::new()
            .mode(CheckoutSessionMode::Subscription)
            .customer(new.customer)
            .client_reference_id(new.user_id)
            .metadata(metadata(new.user_id))
            .line_items(vec![line])
            .allow_promotion_codes(true)
            .subscription_data(subscription)
            .success_url(new.success_url)
            .cancel_url(new.cancel_url);
        Ok(self.send("create_checkout", request.build(), Some(key)).await?.object)
    }

    /// The customer's newest checkouts with their lines, newest first, open or not.
    pub async fn checkouts(&self, customer: &str) -> Result<Vec<Value>, StripeError> {
        let request = ListCheckoutSession::new().customer(customer).limit(CHECKOUTS).expand(vec!["data.line_items".to_owned()]);
        self.list("list_checkouts", request.build()).await
    }

    pub async fn create_portal(&self, customer: &str, return_url: &str) -> Result<Value, StripeError> {
        let request = CreateBillingPortalSession::new().customer(customer).return_url(return_url);
        Ok(self.send("create_portal", request.build(), None).await?.object)
    }

    /// The customer's subscriptions in every state, newest first.
    pub async fn subscriptions(&self, customer: &str, limit: i64) -> Result<Vec<Value>, StripeError> {
        let request = ListSubscription::new().customer(customer).status(ListSubscriptionStatus::All).limit(limit);
        self.list("list_subscriptions", request.build()).await
    }

    pub async fn subscription(&self, id: &str) -> Result<Reply, StripeError> {
        self.send("get_subscription", RetrieveSubscription::new(id).build(), None).await
    }

    /// Sets or clears the flag that ends the subscription with its period. With flexible billing Stripe sets `cancel_at` instead.
    pub async fn set_cancel_at_period_end(&self, id: &str, cancel: bool) -> Result<Reply, StripeError> {
        self.send("update_subscription", UpdateSubscription::new(id).cancel_at_period_end(cancel).build(), None).await
    }

    /// Clears the time at which the subscription ends.
    pub async fn clear_cancel_at(&self, id: &str) -> Result<Reply, StripeError> {
        // The typed request cannot send the empty text that clears a member.
        let cleared = BTreeMap::from([("cancel_at", "")]);
        let request = RequestBuilder::new(StripeMethod::Post, format!("/subscriptions/{id}")).form(&cleared);
        self.send("update_subscription", request, None).await
    }

    /// Ends the subscription now.
    pub async fn cancel_subscription(&self, id: &str) -> Result<Reply, StripeError> {
        self.send("cancel_subscription", CancelSubscription::new(id).build(), None).await
    }

    pub async fn invoices(&self, customer: &str, limit: i64) -> Result<Vec<Value>, StripeError> {
        self.list("list_invoices", ListInvoice::new().customer(customer).limit(limit).build()).await
    }

    pub async fn price(&self, id: &str) -> Result<Reply, StripeError> {
        self.send("get_price", RequestBuilder::new(StripeMethod::Get, format!("/prices/{id}")), None).await
    }

    pub async fn webhook_endpoints(&self) -> Result<Reply, StripeError> {
        let limit = BTreeMap::from([("limit", WEBHOOK_ENDPOINTS)]);
        self.send("list_webhook_endpoints", RequestBuilder::new(StripeMethod::Get, "/webhook_endpoints").query(&limit), None).await
    }

    /// Adds usage to a meter, with one request. The caller repeats it with the same identifier until it is answered. `key` is
    /// another one for each attempt: Stripe repeats its first answer to a key, also if that was a 500.
    pub async fn report_usage(&self, event: &MeterEvent<'_>, key: &str) -> Result<(), StripeError> {
        let payload = [("stripe_customer_id", event.customer.to_owned()), ("value", event.value.to_string())];
        let payload: HashMap<String, String> = payload.map(|(name, value)| (name.to_owned(), value)).into();
        let request = CreateBillingMeterEvent::new(event.event_name, payload).identifier(event.identifier).timestamp(event.at.timestamp());
        self.send_once("create_meter_event", request.build(), key).await?;
        Ok(())
    }

    /// All meters, active or not.
    pub async fn meters(&self) -> Result<Vec<Value>, StripeError> {
        let mut all: Vec<Value> = Vec::new();
        for _ in 0..METER_PAGES {
            let mut request = ListBillingMeter::new().limit(METERS);
            if let Some(last) = all.last().and_then(|meter| read::text(meter, "id")) {
                request = request.starting_after(last);
            }
            let page = self.send("list_meters", request.build(), None).await?.object;
            all.extend_from_slice(read::list(&page));
            if page["has_more"] != true {
                break;
            }
        }
        Ok(all)
    }

    /// What a meter counted in a time. Stripe adds events up in the background: those of the last minutes may be missing.
    pub async fn metered(&self, span: &MeterSpan<'_>) -> Result<Vec<Value>, StripeError> {
        let (start, end) = (span.start.timestamp(), span.end.timestamp());
        let request = ListIdBillingMeterEventSummary::new(span.meter, span.customer, end, start);
        let found = self.send("list_meter_summaries", request.build(), None).await?.object;
        found["data"].as_array().cloned().ok_or_else(|| StripeError::invalid("the summaries of the meter cannot be read"))
    }

    async fn list(&self, name: &str, request: RequestBuilder) -> Result<Vec<Value>, StripeError> {
        Ok(read::list(&self.send(name, request, None).await?.object).to_vec())
    }
}

fn metadata(user_id: &str) -> HashMap<String, String> {
    HashMap::from([("user_id".to_owned(), user_id.to_owned())])
}
