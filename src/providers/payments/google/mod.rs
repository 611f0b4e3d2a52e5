//! Google Play: pushed notifications (Pub/Sub) and the Play Developer API.

mod access;
mod account;
mod api;
mod config;
mod notification;
mod purchase;
mod push;

pub use api::{Lookup, Play};
pub use config::Config;
pub use notification::{Malformed, Notification, Notified};
pub use purchase::{Line, Purchase, State};
pub use push::PushVerifier;
