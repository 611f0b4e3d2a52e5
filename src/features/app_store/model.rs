//! The request of the feature.

use serde::Deserialize;
use utoipa::ToSchema;

/// A purchase that the app reports.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"signed_transaction": "eyJhbGciOiJFUzI1NiIsIng1YyI6WyJNSUlFT0Rf…"}))]
pub struct LinkApplePurchase {
    /// The signed transaction, as `jwsRepresentation` of `StoreKit` returns it.
    #[schema(min_length = 1, max_length = 65536)]
    pub signed_transaction: String,
}
