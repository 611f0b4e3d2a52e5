//! Twilio's mail API: <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use super::config::{Vendor, required};
use super::{Email, EmailProvider, Sent};
use crate::platform::config::{Env, Section};
use crate::providers::ProviderError;
use crate::providers::email::{address, http as vendor};

const NAME: &str = "sendgrid";

#[derive(Debug, Clone)]
pub struct Settings {
    pub api_key: Option<SecretString>,
    pub base_url: Option<Url>,
}

impl Section for Settings {
    fn read(env: &mut Env) -> Self {
        Self {
            api_key: env.var("SENDGRID_API_KEY", "sendgrid: the key of its API").secret(1),
            base_url: env
                .var("SENDGRID_BASE_URL", "sendgrid: another place for its API, for tests and gateways")
                .shown_default("https://api.sendgrid.com/")
                .optional(),
        }
    }
}

impl Settings {
    pub(super) fn check(&self, env: &mut Env) {
        if self.api_key.is_none() {
            required(env, "SENDGRID_API_KEY", Vendor::Sendgrid);
        }
    }

    pub(super) fn provider(&self, client: reqwest::Client) -> Result<Arc<dyn EmailProvider>, ProviderError> {
        let api_key = self.api_key.clone().ok_or(ProviderError::NotConfigured(NAME))?;
        let base = self.base_url.as_ref().map_or("https://api.sendgrid.com", Url::as_str);
        Ok(Arc::new(Sendgrid { url: format!("{}/v3/mail/send", base.trim_end_matches('/')), api_key, client }))
    }
}

struct Sendgrid {
    url: String,
    api_key: SecretString,
    client: reqwest::Client,
}

#[async_trait]
impl EmailProvider for Sendgrid {
    fn name(&self) -> &'static str {
        NAME
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
        let request = self.client.post(&self.url).bearer_auth(self.api_key.expose_secret()).json(&body);
        let answer = vendor::send(NAME, request, |_, _| false).await?;
        let id = answer.headers.get("x-message-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        Ok(Sent { message_id: id.to_owned() })
    }
}
