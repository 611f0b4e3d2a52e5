//! Mails that the service sends in the background: whoever wants one sent enqueues its job. No tables, no routes. Functions
//! `send_welcome_email`, `send_password_reset_email`, `send_notification_email`.

mod jobs;
pub mod service;

use crate::app::feature::Feature;
pub use jobs::{SendNotificationEmail, SendPasswordResetEmail, SendWelcomeEmail};

pub const FEATURE: Feature = Feature {
    jobs: |registry| {
        registry.add::<SendWelcomeEmail>();
        registry.add::<SendPasswordResetEmail>();
        registry.add::<SendNotificationEmail>();
    },
    ..Feature::new("emails")
};
