//! Sends mail: composes it from a template, keeps a copy for developers, hands it to the vendor.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};

use super::config::Config;
use super::deliver::deliver;
use super::mailbox_store::Mailbox;
use super::message::{Email, Sender, Sent};
use super::provider::EmailProvider;
use super::{address, template, text};
use crate::platform::crypto;
use crate::platform::telemetry::metrics::Metrics;
use crate::providers::ProviderError;
use crate::providers::vendor::Outside;

/// Maximum number of concurrent mails of one bulk.
const IN_FLIGHT: usize = 4;

/// Sends mail through the configured vendor. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    provider: RwLock<Arc<dyn EmailProvider>>,
    sender: Sender,
    app_name: String,
    mailbox: Option<Mailbox>,
    metrics: Metrics,
}

/// A mail to compose and send.
pub struct Outgoing {
    pub to: String,
    pub subject: String,
    pub content: Content,
    /// `None` is the configured sender.
    pub from: Option<Sender>,
    /// The same for every attempt to send this mail and for no other mail.
    pub key: Option<String>,
}

/// Content of a mail.
pub enum Content {
    /// A template by name, with the values of its variables (an object).
    Template { name: String, data: Value },
    /// The caller's HTML, sent unchanged.
    Html(String),
    /// Plain text, rendered to HTML.
    Text(String),
}

/// One template for many recipients, each with its own values.
pub struct Bulk {
    pub subject: String,
    pub template: String,
    /// Values for all (an object).
    pub data: Value,
    pub recipients: Vec<Recipient>,
    pub from: Option<Sender>,
    /// The same for every attempt to send all of these and for no others.
    pub key: Option<String>,
}

pub struct Recipient {
    /// Without one, only this mail fails.
    pub to: Option<String>,
    /// Values over those for all (an object).
    pub data: Value,
}

impl Mailer {
    /// With ENVIRONMENT=local every mail is also kept below the folder.
    pub fn new(config: &Config, app_name: &str, data_dir: &Path, outside: &Outside) -> Result<Self, ProviderError> {
        Ok(Self(Arc::new(Inner {
            provider: RwLock::new(config.vendor.connect(outside)?),
            sender: Sender { name: config.from_name.clone(), address: config.from_address.clone() },
            app_name: app_name.to_owned(),
            mailbox: config.local.then(|| Mailbox::new(data_dir.join("mailbox"))),
            metrics: outside.metrics.clone(),
        })))
    }

    /// The service's name in mails.
    pub fn app_name(&self) -> &str {
        &self.0.app_name
    }

    /// Where a developer finds every mail; `None` unless ENVIRONMENT=local.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.0.mailbox.as_ref()
    }

    /// Replaces the vendor in all clones, for tests.
    pub fn replace_provider(&self, provider: Arc<dyn EmailProvider>) {
        *self.0.provider.write().unwrap_or_else(PoisonError::into_inner) = provider;
    }

    /// Sends one mail in a single attempt. A copy is stored first, so that it exists even after a crash.
    pub async fn send(&self, mail: Outgoing, now: DateTime<Utc>) -> Result<Sent, ProviderError> {
        let mail = self.compose(mail, now)?;
        let provider = self.0.provider.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(mailbox) = &self.0.mailbox else { return deliver(provider.as_ref(), &mail, &self.0.metrics).await };
        let kept = mailbox.keep(&mail, now, provider.name()).await;
        let sent = deliver(provider.as_ref(), &mail, &self.0.metrics).await;
        if let Some(kept) = kept {
            mailbox.note(kept, &sent).await;
        }
        sent
    }

    /// Sends one template to many recipients; results are in the recipients' order. A failure does not stop the others.
    pub async fn send_bulk(&self, bulk: Bulk, now: DateTime<Utc>) -> Vec<Result<Sent, ProviderError>> {
        let Bulk { subject, template, data, recipients, from, key } = bulk;
        let mut seen: HashMap<String, u64> = HashMap::new();
        let mails = recipients.into_iter().map(|recipient| {
            let to = recipient.to.ok_or_else(|| ProviderError::Rejected("the recipient has no e-mail address".to_owned()))?;
            // Derived from the address, because the position in the list may change between attempts.
            let nth = seen.entry(to.clone()).and_modify(|n| *n += 1).or_default();
            let own = crypto::hash(&[to.as_bytes(), &nth.to_be_bytes()]);
            Ok(Outgoing {
                key: key.as_ref().map(|key| format!("{key}-{}", crypto::hex(&own[..8]))),
                to,
                subject: subject.clone(),
                content: Content::Template { name: template.clone(), data: over(&data, recipient.data)? },
                from: from.clone(),
            })
        });
        let mails: Vec<Result<Outgoing, ProviderError>> = mails.collect();
        stream::iter(mails).map(|mail| async move { self.send(mail?, now).await }).buffered(IN_FLIGHT).collect().await
    }

    /// Composes both parts of the mail, with validated headers.
    fn compose(&self, mail: Outgoing, now: DateTime<Utc>) -> Result<Email, ProviderError> {
        let Outgoing { to, subject, content, from, key } = mail;
        let subject = address::one_line(&subject);
        let from = from.unwrap_or_else(|| self.0.sender.clone());
        let from = Sender { name: address::one_line(&from.name), address: address::sendable(from.address) };
        let to = address::sendable(to);
        let common = template::Common { app_name: &self.0.app_name, subject: &subject, now };
        let (html, text, template) = match content {
            Content::Template { name, data } => {
                let html = template::render(&name, object(data)?, &common)?;
                let text = text::of_html(&html);
                (html, text, Some(name))
            }
            Content::Html(html) => {
                let text = text::of_html(&html);
                (html, text, None)
            }
            Content::Text(text) => (template::render_plain(&text, &common)?, text, None),
        };
        Ok(Email { from, to, subject, html, text, key, template })
    }
}

fn object(data: Value) -> Result<Map<String, Value>, ProviderError> {
    match data {
        Value::Object(data) => Ok(data),
        Value::Null => Ok(Map::new()),
        _ => Err(ProviderError::Rejected("the values of a template are not an object".to_owned())),
    }
}

fn over(common: &Value, own: Value) -> Result<Value, ProviderError> {
    let mut all = object(common.clone())?;
    all.extend(object(own)?);
    Ok(Value::Object(all))
}
