//! Twilio's mail API: <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

pub use super::api::Settings;
use super::{Email, EmailProvider, Sent};
use crate::platform::config::Env;
use crate::providers::ProviderError;
use crate::providers::email::address;
use crate::providers::email::api::{self as vendor, Api, Endpoint};

static API: Api = Api {
    name: "sendgrid",
    key: ("SENDGRID_API_KEY", "sendgrid: the key of its API"),
    base_url: ("SENDGRID_BASE_URL", "sendgrid: another place for its API, for tests and gateways"),
    home: "https://api.sendgrid.com/",
};

pub(super) fn read(env: &mut Env) -> Settings {
    Settings::read(env, &API)
}

pub(super) fn provider(settings: &Settings, client: reqwest::Client) -> Result<Arc<dyn EmailProvider>, ProviderError> {
    Ok(Arc::new(Sendgrid(settings.endpoint("/v3/mail/send", client)?)))
}

struct Sendgrid(Endpoint);

#[async_trait]
impl EmailProvider for Sendgrid {
    fn name(&self) -> &'static str {
        self.0.name
    }

    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError> {
        let mut recipient = json!({"to": [{"email": mail.to}]});
        if let Some(key) = &mail.key {
            // It knows no idempotency key; with this a second copy can at least be recognised in its events.
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
            // Its order is fixed: plain text first.
            "content": [{"type": "text/plain", "value": mail.text}, {"type": "text/html", "value": mail.html}],
        });
        let answer = vendor::send(self.0.name, self.0.post(&body), |_| false).await?;
        let id = answer.headers.get("x-message-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        Ok(Sent { message_id: id.to_owned() })
    }
}
