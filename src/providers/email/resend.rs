//! Resend: <https://resend.com/docs/api-reference/emails/send-email>.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use serde_json::json;

pub use super::api::Settings;
use super::{Email, EmailProvider, Sent};
use crate::platform::config::Env;
use crate::providers::ProviderError;
use crate::providers::email::address;
use crate::providers::email::api::{self as vendor, Api, Endpoint};
use crate::providers::http::Answer;

static API: Api = Api {
    name: "resend",
    key: ("RESEND_API_KEY", "resend: the key of its API"),
    base_url: ("RESEND_BASE_URL", "resend: another place for its API, for tests and gateways"),
    home: "https://api.resend.com/",
};

pub(super) fn read(env: &mut Env) -> Settings {
    Settings::read(env, &API)
}

pub(super) fn provider(settings: &Settings, client: reqwest::Client) -> Result<Arc<dyn EmailProvider>, ProviderError> {
    Ok(Arc::new(Resend(settings.endpoint("/emails", client)?)))
}

struct Resend(Endpoint);

#[async_trait]
impl EmailProvider for Resend {
    fn name(&self) -> &'static str {
        self.0.name
    }

    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError> {
        let mut request = self.0.post(&json!({
            "from": address::shown(&mail.from),
            "to": [mail.to],
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
        }));
        if let Some(key) = &mail.key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = vendor::send(self.0.name, request, same_key_at_work).await?;
        Ok(Sent { message_id: answer.body["id"].as_str().unwrap_or_default().to_owned() })
    }
}

/// Another request with the same key has not ended yet. Its other 409 is final: the key was used for another mail
/// (<https://resend.com/docs/dashboard/emails/idempotency-keys>).
fn same_key_at_work(answer: &Answer) -> bool {
    answer.status == StatusCode::CONFLICT && answer.body["name"] == "concurrent_idempotent_requests"
}
