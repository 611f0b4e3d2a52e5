//! Jobs that send mail.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::service::{permit, unsent};
use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};
use crate::providers::email::mailer::Content;

/// Sends the welcome mail of a new user, whose address is proved: the name is the user's choice.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendWelcomeEmail {
    pub email: String,
    pub name: String,
}

impl Job<App> for SendWelcomeEmail {
    const NAME: &'static str = "send_welcome_email";

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let Some(permit) = permit(&app, &run, "welcome", &self.email).await? else { return Ok(unsent()) };
        let subject = format!("Welcome to {}!", app.mailer.app_name());
        permit.send_template(&app, subject, "welcome", json!({"name": self.name})).await
    }
}

/// Sends a password reset link created by another service. It greets without a name, because the address may be unproved.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendPasswordResetEmail {
    pub email: String,
    pub reset_link: String,
}

impl Job<App> for SendPasswordResetEmail {
    const NAME: &'static str = "send_password_reset_email";
    const SECRETS: &'static [&'static str] = &["reset_link"];

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let Some(permit) = permit(&app, &run, "password_reset", &self.email).await? else { return Ok(unsent()) };
        let data = json!({"reset_url": self.reset_link, "expires_in_hours": 1});
        permit.send_template(&app, "Reset Your Password".to_owned(), "password_reset", data).await
    }
}

/// Sends a text, in a template or as plain text. Subject and text must not come from anyone but the operator or the recipient,
/// unless the address is proved.
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
    /// What the mail is about, `notification` if absent: mails of one purpose to one address are limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

impl Job<App> for SendNotificationEmail {
    const NAME: &'static str = "send_notification_email";

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let purpose = self.purpose.as_deref().unwrap_or("notification");
        let Some(permit) = permit(&app, &run, purpose, &self.email).await? else { return Ok(unsent()) };
        let Some(template) = self.template else { return permit.send(&app, self.subject, Content::Text(self.body)).await };
        let mut data = self.data.unwrap_or_default();
        data.entry("title").or_insert_with(|| self.subject.clone().into());
        data.entry("message").or_insert_with(|| self.body.into());
        permit.send_template(&app, self.subject, &template, data.into()).await
    }
}
