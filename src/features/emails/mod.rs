//! Sending of mail in the background: other features enqueue these jobs, or send from jobs of their own by `service::permit`.
//!
//! Table `email_slots`, no routes. Functions `send_welcome_email`, `send_password_reset_email`, `send_notification_email`.

mod jobs;
pub mod service;
mod store;

use async_trait::async_trait;

use crate::app::App;
use crate::app::feature::{Feature, Removed, When};
use crate::app::jobs::Registry;
use crate::platform::error::Result;
pub use jobs::{SendNotificationEmail, SendPasswordResetEmail, SendWelcomeEmail};

pub struct Emails;

#[async_trait]
impl Feature<App> for Emails {
    fn name(&self) -> &'static str {
        "emails"
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<SendWelcomeEmail>();
        registry.add::<SendPasswordResetEmail>();
        registry.add::<SendNotificationEmail>();
    }

    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        match when {
            When::Expired => service::sweep(app).await,
            When::Old => Ok(Removed::default()),
        }
    }
}
