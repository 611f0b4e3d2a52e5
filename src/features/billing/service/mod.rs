//! Business rules of billing with Stripe.

mod checkout;
pub mod customers;
mod manage;

pub use checkout::checkout;
pub use manage::{cancel, invoices, portal, resume};

use super::state::State;
use crate::app::App;
use crate::providers::payments::stripe::Stripe;

/// The client of Stripe, for other features: it shares the circuit breaker. `None` without a key.
pub fn stripe(app: &App) -> Option<&Stripe> {
    app.state::<State>().stripe.as_ref()
}
