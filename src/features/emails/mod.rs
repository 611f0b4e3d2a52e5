//! Sending of mail in the background: other features enqueue these jobs. No tables, no routes. Functions `send_welcome_email`,
//! `send_password_reset_email`, `send_notification_email`.

mod jobs;
pub mod service;

use crate::app::App;
use crate::app::feature::Feature;
use crate::app::jobs::Registry;
pub use jobs::{SendNotificationEmail, SendPasswordResetEmail, SendWelcomeEmail};

pub struct Emails;

impl Feature<App> for Emails {
    fn name(&self) -> &'static str {
        "emails"
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<SendWelcomeEmail>();
        registry.add::<SendPasswordResetEmail>();
        registry.add::<SendNotificationEmail>();
    }
}
