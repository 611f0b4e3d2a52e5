//! API key and address of a vendor, and the variables that set them.

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use crate::platform::config::Env;
use crate::providers::ProviderError;

/// The variables of a vendor, each with its help.
pub struct Variables {
    pub vendor: &'static str,
    pub key: (&'static str, &'static str),
    pub base_url: (&'static str, &'static str),
    /// Default base URL.
    pub home: &'static str,
}

/// The settings of a vendor.
#[derive(Debug, Clone)]
pub struct Settings {
    vendor: &'static str,
    key: Option<SecretString>,
    /// `None` only if the default were no URL.
    base: Option<Url>,
}

impl Settings {
    pub fn read(env: &mut Env, variables: &Variables) -> Self {
        Self {
            vendor: variables.vendor,
            key: env.var(variables.key.0, variables.key.1).secret(1),
            base: env
                .var(variables.base_url.0, variables.base_url.1)
                .shown_default(variables.home)
                .optional()
                .or_else(|| Url::parse(variables.home).ok()),
        }
    }

    /// Fails with `NotConfigured` without a key.
    pub fn access(&self) -> Result<Access, ProviderError> {
        let missing = || ProviderError::NotConfigured(self.vendor);
        Ok(Access { key: self.key.clone().ok_or_else(missing)?, base: self.base.clone().ok_or_else(missing)? })
    }
}

/// Key and address of a vendor.
#[derive(Debug, Clone)]
pub struct Access {
    key: SecretString,
    base: Url,
}

impl Access {
    /// The key in a header of this name, after `scheme`. A key that is no header value is left out: the request then fails at
    /// the vendor.
    pub fn key_header(&self, name: HeaderName, scheme: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(mut value) = HeaderValue::try_from(format!("{scheme}{}", self.key.expose_secret())) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers
    }

    /// The base URL's path segments.
    pub fn base_segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.base.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty())
    }

    /// The URL of an endpoint. Each segment is percent-encoded, because models are named by clients.
    pub fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// A request with a JSON body.
    pub fn post(&self, client: &Client, segments: &[&str], headers: HeaderMap, body: &impl Serialize) -> RequestBuilder {
        client.post(self.url(segments)).headers(headers).json(body)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn access(base: &str) -> Access {
        Access { key: "secret".into(), base: Url::parse(base).unwrap() }
    }

    #[test]
    fn endpoint_url_encodes_model_and_keeps_base_path() {
        let url = |base: &str, segments: &[&str]| access(base).url(segments).to_string();
        assert_eq!(url("https://a.example", &["v1", "x"]), "https://a.example/v1/x");
        assert_eq!(url("https://a.example/gateway/v1/", &["chat"]), "https://a.example/gateway/v1/chat");
        assert_eq!(url("https://a.example", &["models", "../x?key=1#:go"]), "https://a.example/models/..%2Fx%3Fkey=1%23:go");
    }
}
