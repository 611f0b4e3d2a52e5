//! Jobs that send mail.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::service::{send, send_template};
use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};
use crate::providers::email::mailer::Content;

/// Sends the welcome mail of a new user.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendWelcomeEmail {
    pub email: String,
    pub name: String,
}

impl Job<App> for SendWelcomeEmail {
    const NAME: &'static str = "send_welcome_email";

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let subject = format!("Welcome to {}!", app.mailer.app_name());
        send_template(&app, &run, self.email, subject, "welcome", json!({"name": self.name})).await
    }
}

/// Sends a password reset link created by another service.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendPasswordResetEmail {
    pub email: String,
    pub reset_link: String,
}

impl Job<App> for SendPasswordResetEmail {
    const NAME: &'static str = "send_password_reset_email";
    const SECRETS: &'static [&'static str] = &["reset_link"];

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let name = self.email.split('@').next().unwrap_or_default();
        let data = json!({"name": name, "reset_url": self.reset_link, "expires_in_hours": 1});
        send_template(&app, &run, self.email, "Reset Your Password".to_owned(), "password_reset", data).await
    }
}

/// Sends a text, in a template or as plain text.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendNotificationEmail {
    pub email: String,
    pub subject: String,
    pub body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The values of the template's variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Value>>,
}

impl Job<App> for SendNotificationEmail {
    const NAME: &'static str = "send_notification_email";

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let Some(template) = self.template else { return send(&app, &run, self.email, self.subject, Content::Text(self.body)).await };
        let mut data = self.data.unwrap_or_default();
        data.entry("title").or_insert_with(|| self.subject.clone().into());
        data.entry("message").or_insert_with(|| self.body.into());
        send_template(&app, &run, self.email, self.subject, &template, data.into()).await
    }
}
