//! Resend: <https://resend.com/docs/api-reference/emails/send-email>.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::config::{Vendor, required};
use super::{Email, EmailProvider, Sent};
use crate::platform::config::{Env, Section};
use crate::providers::ProviderError;
use crate::providers::email::{address, http as vendor};

const NAME: &str = "resend";

#[derive(Debug, Clone)]
pub struct Settings {
    pub api_key: Option<SecretString>,
    pub base_url: Option<Url>,
}

impl Section for Settings {
    fn read(env: &mut Env) -> Self {
        Self {
            api_key: env.var("RESEND_API_KEY", "resend: the key of its API").secret(1),
            base_url: env
                .var("RESEND_BASE_URL", "resend: another place for its API, for tests and gateways")
                .shown_default("https://api.resend.com/")
                .optional(),
        }
    }
}

impl Settings {
    pub(super) fn check(&self, env: &mut Env) {
        if self.api_key.is_none() {
            required(env, "RESEND_API_KEY", Vendor::Resend);
        }
    }

    pub(super) fn provider(&self, client: reqwest::Client) -> Result<Arc<dyn EmailProvider>, ProviderError> {
        let api_key = self.api_key.clone().ok_or(ProviderError::NotConfigured(NAME))?;
        let base = self.base_url.as_ref().map_or("https://api.resend.com", Url::as_str);
        Ok(Arc::new(Resend { url: format!("{}/emails", base.trim_end_matches('/')), api_key, client }))
    }
}

struct Resend {
    url: String,
    api_key: SecretString,
    client: reqwest::Client,
}

#[async_trait]
impl EmailProvider for Resend {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError> {
        let mut request = self.client.post(&self.url).bearer_auth(self.api_key.expose_secret()).json(&json!({
            "from": address::shown(&mail.from),
            "to": [mail.to],
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
        }));
        if let Some(key) = &mail.key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = vendor::send(NAME, request, same_key_at_work).await?;
        Ok(Sent { message_id: answer.body["id"].as_str().unwrap_or_default().to_owned() })
    }
}

/// Another request with the same key has not ended yet. Its other 409 is final: the key was used for another mail
/// (<https://resend.com/docs/dashboard/emails/idempotency-keys>).
fn same_key_at_work(status: StatusCode, answer: &Value) -> bool {
    status == StatusCode::CONFLICT && answer["name"] == "concurrent_idempotent_requests"
}
