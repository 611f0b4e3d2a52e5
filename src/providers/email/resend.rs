//! Resend: <https://resend.com/docs/api-reference/emails/send-email>.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use serde_json::json;

use super::api::{Api, Endpoint, Settings};
use super::message::{Email, Sent};
use super::provider::EmailProvider;
use crate::platform::outgoing::Answer;
use crate::providers::ProviderError;
use crate::providers::email::address;
use crate::providers::vendor::Vendor;

static API: Api = Api {
    name: "resend",
    key: ("RESEND_API_KEY", "resend: the API key"),
    base_url: ("RESEND_BASE_URL", "resend: another address of its API, for tests and gateways"),
    home: "https://api.resend.com/",
    path: "/emails",
    provider: |endpoint| Arc::new(Resend(endpoint)),
};

pub(super) static VENDOR: Vendor<dyn EmailProvider> = Vendor { name: API.name, read: |env| Arc::new(Settings::read(env, &API)) };

struct Resend(Endpoint);

#[async_trait]
impl EmailProvider for Resend {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError> {
        let body = json!({
            "from": address::shown(&mail.from),
            "to": [mail.to],
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
        });
        let answer = self.0.post(&body, mail.key.as_deref(), same_key_in_progress).await?;
        Ok(Sent { message_id: answer.json()["id"].as_str().unwrap_or_default().to_owned() })
    }
}

/// Another request with the same key has not ended yet. Its other 409 is final: the key was used for another mail
/// (<https://resend.com/docs/dashboard/emails/idempotency-keys>).
fn same_key_in_progress(answer: &Answer) -> bool {
    answer.status == StatusCode::CONFLICT && answer.json()["name"] == "concurrent_idempotent_requests"
}
