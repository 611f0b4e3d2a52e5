//! Business rules of billing with Stripe.

mod checkout;
pub mod customers;
mod manage;

pub use checkout::checkout;
pub use manage::{cancel, invoices, portal, resume};
