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

/// An answer of Stripe.
#[derive(Debug, Clone)]
pub struct Reply {
    pub object: Value,
    /// Stripe's own time, from the `Date` header.
    pub at: Option<DateTime<Utc>>,
}
