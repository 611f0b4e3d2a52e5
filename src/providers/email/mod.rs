//! E-mail. [`Mailer`] is what the rest of the server uses; a vendor is one file here, its `mod` line and its line in
//! [`VENDORS`].

pub mod address;
mod api;
pub mod config;
mod console;
mod deliver;
pub mod mailbox_store;
pub mod mailer;
pub mod message;
pub mod provider;
mod resend;
mod sendgrid;
mod smtp;
pub mod template;
pub mod text;

use super::vendor::Vendor;
use provider::EmailProvider;

pub use config::Config;
pub use mailer::Mailer;

/// Every vendor; the first is the default.
#[rustfmt::skip] // One line each: a vendor is removed with its lines.
pub static VENDORS: &[&Vendor<dyn EmailProvider>] = &[
    &console::VENDOR,
    &resend::VENDOR,
    &sendgrid::VENDOR,
    &smtp::VENDOR,
];
