//! Requests and answers of [`Operation`](super::Operation).

use chrono::{DateTime, Utc};
use serde_json::Value;

/// A customer to be created.
#[derive(Debug, Clone, Copy)]
pub struct NewCustomer<'a> {
    /// Kept in the customer's metadata.
    pub user_id: &'a str,
    pub email: &'a str,
    pub name: Option<&'a str>,
}

/// A checkout of one subscription to be opened.
#[derive(Debug, Clone, Copy)]
pub struct NewCheckout<'a> {
    pub customer: &'a str,
    /// The client's reference, and metadata of the subscription.
    pub user_id: &'a str,
    pub price: &'a str,
    pub success_url: &'a str,
    pub cancel_url: &'a str,
}

/// Usage of a customer to be added to a meter.
#[derive(Debug, Clone, Copy)]
pub struct MeterEvent<'a> {
    /// Names the meter.
    pub event_name: &'a str,
    pub customer: &'a str,
    pub value: i64,
    /// When it was used: within the last 35 days, in whole seconds.
    pub at: DateTime<Utc>,
    /// Stripe counts only one event of an identifier within 24 hours.
    pub identifier: &'a str,
}

/// What a meter counted of a customer in a time.
#[derive(Debug, Clone, Copy)]
pub struct MeterSpan<'a> {
    /// The meter's id.
    pub meter: &'a str,
    pub customer: &'a str,
    /// In whole minutes, as is `end`.
    pub start: DateTime<Utc>,
    /// The first instant after it.
    pub end: DateTime<Utc>,
}

/// An answer of Stripe.
#[derive(Debug, Clone)]
pub struct Reply {
    pub object: Value,
    /// Stripe's own time, from the `Date` header.
    pub at: Option<DateTime<Utc>>,
}
