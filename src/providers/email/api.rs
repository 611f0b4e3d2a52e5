//! Common part of mail vendors with an HTTP API: API key, URL, and handling of answers.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::provider::{EmailProvider, TIMEOUT};
use crate::platform::config::Env;
use crate::platform::outgoing::{Answer, Limits, Service};
use crate::providers::ProviderError;
use crate::providers::vendor::{Outside, VendorSettings};

/// A vendor's API, and the variables that configure it, each with its help.
#[derive(Debug)]
pub struct Api {
    pub name: &'static str,
    pub key: (&'static str, &'static str),
    pub base_url: (&'static str, &'static str),
    /// Default base URL.
    pub home: &'static str,
    /// The path that mails are posted to.
    pub path: &'static str,
    /// Makes the provider.
    pub provider: fn(Endpoint) -> Arc<dyn EmailProvider>,
}

/// The settings of an API.
#[derive(Debug, Clone)]
pub struct Settings {
    api: &'static Api,
    key: Option<SecretString>,
    base_url: Option<Url>,
}

impl Settings {
    pub fn read(env: &mut Env, api: &'static Api) -> Self {
        Self {
            api,
            key: env.var(api.key.0, api.key.1).secret(1),
            base_url: env.var(api.base_url.0, api.base_url.1).shown_default(api.home).optional(),
        }
    }
}

impl VendorSettings<dyn EmailProvider> for Settings {
    fn check(&self, env: &mut Env) {
        env.require(self.api.key.0, "EMAIL_PROVIDER", self.api.name);
    }

    fn connect(&self, outside: &Outside) -> Result<Arc<dyn EmailProvider>, ProviderError> {
        let key = self.key.clone().ok_or(ProviderError::NotConfigured(self.api.name))?;
        let base = self.base_url.as_ref().map_or(self.api.home, Url::as_str);
        let url = format!("{}{}", base.trim_end_matches('/'), self.api.path);
        Ok((self.api.provider)(Endpoint { url, key, service: outside.service_with_breaker(self.api.name) }))
    }
}

/// URL that mails are posted to.
pub struct Endpoint {
    url: String,
    key: SecretString,
    service: Service,
}

impl Endpoint {
    pub fn name(&self) -> &'static str {
        self.service.name()
    }

    /// Posts a mail once; any status but 2xx is an error. `busy` recognises vendor-specific errors that may be retried.
    pub async fn post(&self, body: &Value, idempotency_key: Option<&str>, busy: fn(&Answer) -> bool) -> Result<Answer, ProviderError> {
        let mut request = self.service.client().post(&self.url).bearer_auth(self.key.expose_secret()).json(body);
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        let limits = Limits { total: TIMEOUT, ..Limits::default() };
        let answer = self.service.send("post", limits, request).await?;
        self.service.account_status(answer.status);
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(ProviderError::of_answer(self.name(), &answer, &words(&answer.json()), busy(&answer)))
    }
}

/// Returns the vendor's error message, if there is one.
fn words(body: &Value) -> String {
    let message = body["message"].as_str().or_else(|| body["errors"][0]["message"].as_str()).unwrap_or_default();
    super::address::told(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_error_message_is_extracted() {
        assert_eq!(words(&serde_json::json!({"message": "no"})), "no");
        assert_eq!(words(&serde_json::json!({"errors": [{"message": "bad"}]})), "bad");
        assert_eq!(words(&serde_json::json!(["x"])), "");
        assert_eq!(words(&Value::Null), "");
    }
}
