//! Bodies of requests and answers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::features::subscriptions::model::{Plan, Status};
use crate::providers::payments::stripe::read;

/// How often a subscription is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BillingInterval)]
pub enum Interval {
    Monthly,
    Yearly,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({
    "plan": "monthly", "success_url": "https://app.example.com/welcome?session_id={CHECKOUT_SESSION_ID}", "cancel_url": "https://app.example.com/plans"
}))]
pub struct CheckoutRequest {
    #[schema(inline)]
    pub plan: Interval,
    /// Where the customer goes after paying; its host must be allowed.
    #[schema(format = "uri", max_length = 2048)]
    pub success_url: String,
    /// Where the customer goes without paying; its host must be allowed.
    #[schema(format = "uri", max_length = 2048)]
    pub cancel_url: String,
}

/// A checkout page of Stripe.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"session_id": "cs_test_1", "url": "https://checkout.stripe.com/c/pay/cs_test_1"}))]
pub struct CheckoutSession {
    pub session_id: String,
    pub url: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PortalQuery {
    /// Where the customer goes afterwards; its host must be allowed.
    #[param(format = "uri", max_length = 2048)]
    pub return_url: String,
}

/// A page on which customers change their subscription and their means of payment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"url": "https://billing.stripe.com/p/session/test_1"}))]
pub struct PortalSession {
    pub url: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InvoiceQuery {
    /// Invoices to answer.
    #[param(minimum = 1, maximum = 100, default = 10, required = false, value_type = i64)]
    pub limit: Option<i64>,
}

/// An invoice; amounts are in the smallest unit of the currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "in_1", "number": "A1-0001", "status": "paid", "amount_due": 1900, "amount_paid": 1900, "currency": "eur", "created": 1_768_046_400,
    "hosted_invoice_url": "https://invoice.stripe.com/i/1", "invoice_pdf": "https://pay.stripe.com/invoice/1/pdf"
}))]
#[expect(clippy::struct_field_names, reason = "the names are those of the API")]
pub struct Invoice {
    pub id: String,
    pub number: Option<String>,
    pub status: String,
    pub amount_due: i64,
    pub amount_paid: i64,
    pub currency: String,
    /// Unix seconds.
    pub created: i64,
    pub hosted_invoice_url: Option<String>,
    pub invoice_pdf: Option<String>,
}

impl Invoice {
    pub fn of(object: &Value) -> Self {
        let text = |name: &str| read::text(object, name).map(str::to_owned);
        let number = |name: &str| object[name].as_i64().unwrap_or_default();
        Self {
            id: text("id").unwrap_or_default(),
            number: text("number"),
            // Stripe has none for invoices that are being made.
            status: text("status").unwrap_or_else(|| "draft".to_owned()),
            amount_due: number("amount_due"),
            amount_paid: number("amount_paid"),
            currency: text("currency").unwrap_or_default(),
            created: number("created"),
            hosted_invoice_url: text("hosted_invoice_url"),
            invoice_pdf: text("invoice_pdf"),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CancelQuery {
    /// Whether the subscription ends now instead of with its period.
    #[param(default = false, required = false, value_type = bool)]
    pub immediate: Option<bool>,
}

/// A canceled subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubscriptionCanceled, example = json!({
    "message": "The subscription ends with its period", "cancel_at_period_end": true, "current_period_end": "2026-02-10T12:00:00Z"
}))]
pub struct Canceled {
    pub message: &'static str,
    /// False if the subscription has ended.
    pub cancel_at_period_end: bool,
    pub current_period_end: Option<DateTime<Utc>>,
}

/// A resumed subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubscriptionResumed, example = json!({"message": "The subscription goes on", "status": "active", "plan": "pro"}))]
pub struct Resumed {
    pub message: &'static str,
    pub status: Status,
    pub plan: Plan,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn invoice_with_null_or_renamed_members_is_read() {
        let invoice = Invoice::of(&json!({"id": "in_1", "status": null, "number": null, "amount_due": "x", "created": 5}));
        let invoice = serde_json::to_value(invoice).unwrap();
        assert_eq!((&invoice["status"], &invoice["number"], &invoice["amount_due"]), (&json!("draft"), &json!(null), &json!(0)));
    }
}
