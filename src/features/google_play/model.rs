//! Requests and jobs of the feature, and what is known of a purchase.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::providers::payments::google::Purchase;

/// A purchase that the app reports.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"purchase_token": "kfgdjhbnlaoiwecm.AO-J1OxExample", "subscription_id": "pro_monthly"}))]
pub struct LinkGooglePurchase {
    /// The purchase token that the Play Billing Library returns.
    #[schema(min_length = 1, max_length = 1500)]
    pub purchase_token: String,
    /// The product id of the subscription.
    #[schema(min_length = 1, max_length = 255)]
    pub subscription_id: String,
}

/// What Google said about a purchase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The time from which on the answer counts: that of the question, and not before anything that was known then.
    pub asked: DateTime<Utc>,
    /// `None` if Google has dropped the purchase, long after its end.
    pub purchase: Option<Purchase>,
}

/// Job that reads a purchase and applies it, until Google answers.
#[derive(Serialize, Deserialize)]
pub struct ReadGooglePurchase {
    pub purchase_token: String,
}

/// Job that acknowledges a purchase. Google refunds those that are not acknowledged within three days.
#[derive(Serialize, Deserialize)]
pub struct AcknowledgeGooglePurchase {
    pub purchase_token: String,
    pub product: String,
}
