//! The objects in the shapes that Stripe gives them, with every member that strict clients insist on.

use chrono::{DateTime, Months};
use serde_json::{Value, json};

use super::settings::Price;
use super::world::{Kind, Order, new_id};

/// A checkout expires after a day.
const DAY: i64 = 24 * 3600;
const CURRENCY: &str = "usd";
/// Members that are null in a new object. Apart, because `json!` cannot take so many members.
const CHECKOUT_NULLS: [&str; 19] = [
    "after_expiration",
    "billing_address_collection",
    "consent",
    "consent_collection",
    "currency_conversion",
    "customer_creation",
    "customer_email",
    "invoice",
    "invoice_creation",
    "locale",
    "payment_intent",
    "payment_link",
    "payment_method_configuration_details",
    "recovered_from",
    "setup_intent",
    "shipping_address_collection",
    "shipping_cost",
    "submit_type",
    "subscription",
];
const SUBSCRIPTION_NULLS: [&str; 23] = [
    "application",
    "application_fee_percent",
    "billing_cycle_anchor_config",
    "billing_thresholds",
    "cancel_at",
    "canceled_at",
    "days_until_due",
    "default_payment_method",
    "default_source",
    "description",
    "ended_at",
    "latest_invoice",
    "next_pending_invoice_item_invoice",
    "on_behalf_of",
    "pause_collection",
    "pending_invoice_item_interval",
    "pending_setup_intent",
    "pending_update",
    "schedule",
    "test_clock",
    "transfer_data",
    "trial_end",
    "trial_start",
];
const INVOICE_NULLS: [&str; 8] = [
    "custom_fields",
    "description",
    "due_date",
    "footer",
    "hosted_invoice_url",
    "invoice_pdf",
    "next_payment_attempt",
    "webhooks_delivered_at",
];

fn with_nulls(mut object: Value, names: &[&str]) -> Value {
    for name in names {
        object[*name] = Value::Null;
    }
    object
}

pub fn list(url: &str, data: &[Value], has_more: bool) -> Value {
    json!({"object": "list", "url": url, "has_more": has_more, "data": data})
}

pub fn price(price: &Price) -> Value {
    json!({
        "id": price.id, "object": "price", "active": true, "billing_scheme": "per_unit", "created": 1_700_000_000, "currency": CURRENCY,
        "custom_unit_amount": null, "livemode": false, "lookup_key": null, "metadata": {}, "nickname": price.name,
        "product": format!("prod_of_{}", price.id),
        "recurring": {
            "interval": price.interval.name(), "interval_count": 1, "meter": null, "trial_period_days": null, "usage_type": "licensed"
        },
        "tax_behavior": "unspecified", "tiers_mode": null, "transform_quantity": null, "type": "recurring",
        "unit_amount": price.amount, "unit_amount_decimal": price.amount.to_string()
    })
}

/// Id of the meter whose events have this name.
pub fn meter_id(event_name: &str) -> String {
    format!("mtr_{event_name}")
}

pub fn meter(event_name: &str) -> Value {
    json!({
        "id": meter_id(event_name), "object": "billing.meter", "created": 1_700_000_000,
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"}, "default_aggregation": {"formula": "sum"},
        "display_name": event_name, "event_name": event_name, "event_time_window": null, "livemode": false, "status": "active",
        "status_transitions": {"deactivated_at": null}, "updated": 1_700_000_000, "value_settings": {"event_payload_key": "value"}
    })
}

pub fn customer(now: i64, email: Option<&str>, name: Option<&str>, metadata: &Value) -> Value {
    json!({
        "id": Kind::Customer.new_id(), "object": "customer", "address": null, "balance": 0, "created": now, "currency": null,
        "default_source": null, "delinquent": false, "description": null, "discount": null, "email": email, "invoice_prefix": "FAKE",
        "invoice_settings": {"custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null},
        "livemode": false, "metadata": metadata, "name": name, "next_invoice_sequence": 1, "phone": null, "preferred_locales": [],
        "shipping": null, "tax_exempt": "none", "test_clock": null
    })
}

/// Who buys, and where the page leads.
pub struct NewCheckout<'n> {
    pub customer: &'n Value,
    pub reference: Option<&'n str>,
    pub metadata: Value,
    pub success_url: &'n str,
    pub cancel_url: Option<&'n str>,
    /// Address of the look-alike.
    pub base: &'n str,
}

pub fn checkout(now: i64, new: &NewCheckout, price: &Price) -> Value {
    let id = Kind::Checkout.new_id();
    let customer = new.customer;
    let object = json!({
        "id": id, "object": "checkout.session", "allow_promotion_codes": true, "amount_subtotal": price.amount,
        "amount_total": price.amount, "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
        "cancel_url": new.cancel_url, "client_reference_id": new.reference,
        "created": now, "currency": CURRENCY, "custom_fields": [],
        "custom_text": {"after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null},
        "customer": customer["id"],
        "customer_details": {
            "address": null, "email": customer["email"], "name": customer["name"], "phone": null, "tax_exempt": "none", "tax_ids": []
        },
        "discounts": [], "expires_at": now + DAY, "livemode": false,
        "metadata": new.metadata, "mode": "subscription",
        "payment_method_collection": "always", "payment_method_options": {},
        "payment_method_types": ["card"], "payment_status": "unpaid", "phone_number_collection": {"enabled": false},
        "shipping_options": [],
        "status": "open", "success_url": new.success_url,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0}, "ui_mode": "hosted",
        "url": format!("{}/c/pay/{id}", new.base)
    });
    with_nulls(object, &CHECKOUT_NULLS)
}

/// The lines of a checkout, which are shown where a request expands them.
pub fn checkout_lines(checkout: &str, sold: &Price) -> Value {
    let line = json!({
        "id": format!("li_of_{checkout}"), "object": "item", "amount_discount": 0, "amount_subtotal": sold.amount, "amount_tax": 0,
        "amount_total": sold.amount, "currency": CURRENCY, "description": sold.name, "price": price(sold), "quantity": 1
    });
    list(&format!("/v1/checkout/sessions/{checkout}/line_items"), &[line], false)
}

pub fn portal(now: i64, customer: &Value, return_url: Option<&str>, base: &str) -> Value {
    let id = Kind::Portal.new_id();
    json!({
        "id": id, "object": "billing_portal.session", "configuration": "bpc_fake", "created": now, "customer": customer["id"],
        "flow": null, "livemode": false, "locale": null, "on_behalf_of": null, "return_url": return_url,
        "url": format!("{base}/p/session/{id}")
    })
}

/// The end of a period that starts at this time.
pub fn period_end(start: i64, price: &Price) -> i64 {
    let end = DateTime::from_timestamp(start, 0).and_then(|start| start.checked_add_months(Months::new(price.interval.months())));
    end.map_or(start, |end| end.timestamp())
}

/// A subscription whose first payment is not made yet.
pub fn subscription(now: i64, customer: &Value, order: &Order, sold: &Price, classic: bool) -> Value {
    let id = Kind::Subscription.new_id();
    let end = period_end(now, sold);
    let mut item = json!({
        "id": new_id("si_"), "object": "subscription_item", "created": now, "discounts": [], "metadata": {},
        "price": price(sold), "quantity": 1, "subscription": id, "tax_rates": []
    });
    let mut object = json!({
        "id": id, "object": "subscription",
        "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null}, "billing_cycle_anchor": now,
        "billing_mode": {"type": if classic { "classic" } else { "flexible" }},
        "cancel_at_period_end": false,
        "cancellation_details": {"comment": null, "feedback": null, "reason": null}, "collection_method": "charge_automatically",
        "created": now, "currency": CURRENCY, "customer": customer["id"],
        "default_tax_rates": [], "discounts": [],
        "invoice_settings": {"account_tax_ids": null, "issuer": {"type": "self"}}, "livemode": false,
        "metadata": order.metadata,
        "payment_settings": {
            "payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off"
        },
        "start_date": now,
        "status": "incomplete",
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    });
    object = with_nulls(object, &SUBSCRIPTION_NULLS);
    let holder = if classic { &mut object } else { &mut item };
    holder["current_period_start"] = now.into();
    holder["current_period_end"] = end.into();
    object["items"] = list(&format!("/v1/subscription_items?subscription={id}"), &[item], false);
    object
}

/// An invoice of a subscription's current period.
pub fn invoice(now: i64, number: usize, subscription: &Value, paid: bool, classic: bool) -> Value {
    let id = Kind::Invoice.new_id();
    let amount = subscription["items"]["data"][0]["price"]["unit_amount"].clone();
    let (amount_paid, remaining) = if paid { (amount.clone(), json!(0)) } else { (json!(0), amount.clone()) };
    let mut object = json!({
        "id": id, "object": "invoice", "account_country": "US", "amount_due": amount, "amount_overpaid": 0, "amount_paid": amount_paid,
        "amount_remaining": remaining, "amount_shipping": 0, "attempt_count": 1, "attempted": true, "auto_advance": !paid,
        "automatic_tax": {"disabled_reason": null, "enabled": false, "liability": null, "provider": null, "status": null},
        "billing_reason": "subscription_cycle", "collection_method": "charge_automatically", "created": now, "currency": CURRENCY,
        "customer": subscription["customer"], "default_tax_rates": [], "discounts": [],
        "effective_at": now, "ending_balance": 0,
        "issuer": {"type": "self"}, "lines": list(&format!("/v1/invoices/{id}/lines"), &[], false),
        "livemode": false, "metadata": {}, "number": format!("FAKE-{number:04}"), "period_end": now,
        "period_start": now, "post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0, "starting_balance": 0,
        "status": if paid { "paid" } else { "open" },
        "status_transitions": {"finalized_at": now, "marked_uncollectible_at": null, "paid_at": paid.then_some(now), "voided_at": null},
        "subtotal": amount, "total": amount,
    });
    object = with_nulls(object, &INVOICE_NULLS);
    if classic {
        object["subscription"] = subscription["id"].clone();
        object["paid"] = paid.into();
    } else {
        let details = json!({"metadata": subscription["metadata"], "subscription": subscription["id"]});
        object["parent"] = json!({"type": "subscription_details", "quote_details": null, "subscription_details": details});
    }
    object
}
