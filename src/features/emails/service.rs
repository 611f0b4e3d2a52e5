//! Sending of mail from a job. Every mail names its purpose, and at most [`MAILS`] of one purpose go to one address within
//! [`WINDOW`], whoever asks for them: otherwise a stranger could fill a mailbox by requesting mails to it.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::store::{self, Claim};
use crate::app::App;
use crate::app::feature::Removed;
use crate::app::jobs::{Fail, Run};
use crate::platform::crypto;
use crate::platform::error::Result;
use crate::platform::text::{fold_email, mask_email};
use crate::platform::usage::{Labels, Metric};
use crate::providers::email::mailer::{Content, Outgoing};

/// Mails of one purpose to one address within the window.
const MAILS: i64 = 3;
const WINDOW: TimeDelta = TimeDelta::minutes(15);

/// Permission to send one mail to an address.
pub struct Permit<'r> {
    run: &'r Run,
    to: String,
}

/// Asks for permission to send a mail of this purpose, such as `password_reset`; `None` if the address has had enough of them.
/// Ask before anything that is only right if the mail is sent, such as replacing the link of an earlier mail. A later attempt of
/// the same job is permitted again.
///
/// Purposes are counted apart, so that a flood of one kind never holds back another, such as a security notice.
pub async fn permit<'r>(app: &App, run: &'r Run, purpose: &str, to: &str) -> Result<Option<Permit<'r>>, Fail> {
    let key = app.keys.derive("email-recipient");
    let recipient = crypto::hex(&crypto::mac(&key, &[purpose.as_bytes(), fold_email(to).as_bytes()]));
    let claim = Claim { recipient: &recipient, job: run.id, now: app.clock.now() };
    let permit = || Ok(Some(Permit { run, to: to.to_owned() }));
    if store::renew(&app.db, &claim).await? {
        return permit();
    }
    for slot in 0..MAILS {
        if store::take(&app.db, &claim, slot, WINDOW).await? {
            return permit();
        }
    }
    tracing::info!(purpose, to = mask_email(to), "e-mail not sent: too many of this purpose to this address");
    Ok(None)
}

impl Permit<'_> {
    /// Makes one attempt to send; returns the job's result. The job's idempotency key makes vendors that support such keys
    /// deliver the mail once, even if the job is retried.
    pub async fn send(self, app: &App, subject: String, content: Content) -> Result<Value, Fail> {
        let template = match &content {
            Content::Template { name, .. } => name.as_str(),
            Content::Text(_) | Content::Html(_) => "none",
        };
        let labels: Labels = [format!("template:{template}")].into();
        let mail = Outgoing { to: self.to, subject, content, from: None, key: Some(self.run.key()) };
        let sent = app.mailer.send(mail, app.clock.now()).await?;
        app.usage.record(self.run.owner_id.as_ref(), Metric::EmailSent, 1, &labels);
        Ok(json!({"message_id": sent.message_id}))
    }

    /// As [`Permit::send`], with a template and the values of its variables.
    pub async fn send_template(self, app: &App, subject: String, template: &str, data: Value) -> Result<Value, Fail> {
        self.send(app, subject, Content::Template { name: template.to_owned(), data }).await
    }
}

/// The result of a job that sent no mail.
pub fn unsent() -> Value {
    json!({"message_id": null})
}

/// Removes a bounded number of expired slots.
pub async fn sweep(app: &App) -> Result<Removed> {
    Ok(Removed::records(store::sweep(&app.db, app.clock.now() - WINDOW).await?))
}
