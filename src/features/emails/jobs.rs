//! The mails as jobs: each attempt hands the mail over under the job's key, so that a vendor who knows such keys delivers
//! it once.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::app::jobs::{Fail, Job, Run};
use crate::providers::email::mailer::{Content, Outgoing};

async fn send(app: &App, run: &Run, to: String, subject: String, content: Content) -> Result<Value, Fail> {
    let mail = Outgoing { to, subject, content, from: None, key: Some(run.key()) };
    let sent = app.mailer.send(mail, app.clock.now()).await?;
    Ok(json!({"message_id": sent.message_id}))
}

fn template(name: &str, data: Value) -> Content {
    Content::Template { name: name.to_owned(), data }
}

/// Greets a new user.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendWelcomeEmail {
    pub email: String,
    pub name: String,
}

impl Job for SendWelcomeEmail {
    const NAME: &'static str = "send_welcome_email";

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let subject = format!("Welcome to {}!", app.mailer.app_name());
        send(&app, &run, self.email, subject, template("welcome", json!({"name": self.name}))).await
    }
}

/// Brings a link that somebody else has made.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendPasswordResetEmail {
    pub email: String,
    pub reset_link: String,
}

impl Job for SendPasswordResetEmail {
    const NAME: &'static str = "send_password_reset_email";
    const SECRETS: &'static [&'static str] = &["reset_link"];

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let name = self.email.split('@').next().unwrap_or_default();
        let data = json!({"name": name, "reset_url": self.reset_link, "expires_in_hours": 1});
        send(&app, &run, self.email, "Reset Your Password".to_owned(), template("password_reset", data)).await
    }
}

/// Says anything: in a template, else as plain text.
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

impl Job for SendNotificationEmail {
    const NAME: &'static str = "send_notification_email";

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let content = match self.template {
            Some(name) => {
                let mut data = self.data.unwrap_or_default();
                data.entry("title").or_insert_with(|| self.subject.clone().into());
                data.entry("message").or_insert_with(|| self.body.into());
                template(&name, data.into())
            }
            None => Content::Text(self.body),
        };
        send(&app, &run, self.email, self.subject, content).await
    }
}
