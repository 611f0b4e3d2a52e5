//! Sends a mail from a job with the job's idempotency key: vendors that support idempotency keys deliver it once, even if the job
//! is retried.

use serde_json::{Value, json};

use crate::app::App;
use crate::app::jobs::{Fail, Run};
use crate::providers::email::mailer::{Content, Outgoing};

/// Makes one attempt; returns the job's result.
pub async fn send(app: &App, run: &Run, to: String, subject: String, content: Content) -> Result<Value, Fail> {
    let mail = Outgoing { to, subject, content, from: None, key: Some(run.key()) };
    let sent = app.mailer.send(mail, app.clock.now()).await?;
    Ok(json!({"message_id": sent.message_id}))
}

/// As [`send`], with a template and the values of its variables.
pub async fn send_template(app: &App, run: &Run, to: String, subject: String, template: &str, data: Value) -> Result<Value, Fail> {
    send(app, run, to, subject, Content::Template { name: template.to_owned(), data }).await
}
