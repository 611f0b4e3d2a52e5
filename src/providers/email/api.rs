//! What mail vendors with an HTTP API have in common: a key and a place, and what their answers mean.

use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::TIMEOUT;
use super::config::Vendor;
use crate::platform::config::Env;
use crate::providers::ProviderError;
use crate::providers::http::{self, Answer};

/// A vendor's API, and the variables that say how to reach it, each with its help.
#[derive(Debug)]
pub struct Api {
    pub name: &'static str,
    pub key: (&'static str, &'static str),
    pub base_url: (&'static str, &'static str),
    /// Where it is unless the variable says otherwise.
    pub home: &'static str,
}

/// How to reach an API.
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

    pub(super) fn check(&self, env: &mut Env, vendor: Vendor) {
        env.require(self.api.key.0, "EMAIL_PROVIDER", vendor);
    }

    pub(super) fn endpoint(&self, path: &str, client: reqwest::Client) -> Result<Endpoint, ProviderError> {
        let key = self.key.clone().ok_or(ProviderError::NotConfigured(self.api.name))?;
        let base = self.base_url.as_ref().map_or(self.api.home, Url::as_str);
        Ok(Endpoint { name: self.api.name, url: format!("{}{path}", base.trim_end_matches('/')), key, client })
    }
}

/// The one address of a vendor that mails are posted to.
pub struct Endpoint {
    pub name: &'static str,
    url: String,
    key: SecretString,
    client: reqwest::Client,
}

impl Endpoint {
    pub fn post(&self, body: &Value) -> RequestBuilder {
        self.client.post(&self.url).bearer_auth(self.key.expose_secret()).json(body)
    }
}

/// Sends the request once; anything but 2xx is an error. `busy` tells of the vendor's own errors after which another try
/// may help.
pub async fn send(vendor: &str, request: RequestBuilder, busy: fn(&Answer) -> bool) -> Result<Answer, ProviderError> {
    let answer = http::send(vendor, request.timeout(TIMEOUT)).await?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    Err(answer.refused(vendor, &words(&answer.body), busy(&answer)))
}

/// The vendor's own words, where it has some.
fn words(body: &Value) -> String {
    let message = body["message"].as_str().or_else(|| body["errors"][0]["message"].as_str()).unwrap_or_default();
    super::address::told(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_vendor_are_found() {
        assert_eq!(words(&serde_json::json!({"message": "no"})), "no");
        assert_eq!(words(&serde_json::json!({"errors": [{"message": "bad"}]})), "bad");
        assert_eq!(words(&serde_json::json!(["x"])), "");
        assert_eq!(words(&Value::Null), "");
    }
}
