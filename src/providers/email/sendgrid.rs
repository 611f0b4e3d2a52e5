//! Twilio's mail API: <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::api::{Api, Endpoint, Settings};
use super::message::{Email, Sent};
use super::provider::EmailProvider;
use crate::providers::ProviderError;
use crate::providers::email::address;
use crate::providers::vendor::Vendor;

static API: Api = Api {
    name: "sendgrid",
    key: ("SENDGRID_API_KEY", "sendgrid: the API key"),
    base_url: ("SENDGRID_BASE_URL", "sendgrid: another address of its API, for tests and gateways"),
    home: "https://api.sendgrid.com/",
    path: "/v3/mail/send",
    provider: |endpoint| Arc::new(Sendgrid(endpoint)),
};

pub(super) static VENDOR: Vendor<dyn EmailProvider> = Vendor { name: API.name, read: |env| Arc::new(Settings::read(env, &API)) };

struct Sendgrid(Endpoint);

#[async_trait]
impl EmailProvider for Sendgrid {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError> {
        let mut recipient = json!({"to": [{"email": mail.to}]});
        if let Some(key) = &mail.key {
            // The API has no idempotency key; this value identifies duplicates in its events.
            recipient["custom_args"] = json!({"key": key});
        }
        let mut from = json!({"email": mail.from.address});
        let name = address::one_line(&mail.from.name);
        if !name.is_empty() {
            from["name"] = name.into();
        }
        let body = json!({
            "personalizations": [recipient],
            "from": from,
            "subject": mail.subject,
            // The API requires this order: plain text first.
            "content": [{"type": "text/plain", "value": mail.text}, {"type": "text/html", "value": mail.html}],
        });
        let answer = self.0.post(&body, None, |_| false).await?;
        let id = answer.headers.get("x-message-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        Ok(Sent { message_id: id.to_owned() })
    }
}
