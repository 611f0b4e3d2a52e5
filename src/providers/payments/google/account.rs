//! A service account: the JSON key file that Google Cloud issues
//! (<https://developers.google.com/identity/protocols/oauth2/service-account>).

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use url::Url;

/// The permission that the Play Developer API needs.
const SCOPE: &str = "https://www.googleapis.com/auth/androidpublisher";
/// Lifetime of an assertion in seconds; Google accepts up to an hour.
const LIFETIME: i64 = 3600;
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// Standard base64, with or without padding.
pub const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A service account that can sign. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct ServiceAccount(Arc<Inner>);

struct Inner {
    email: String,
    key_id: Option<String>,
    token_uri: Url,
    key: RsaKeyPair,
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAccount({})", self.0.email)
    }
}

impl ServiceAccount {
    /// Reads the key file's JSON, or its base64. The error completes "must be …" and repeats nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let json = if text.starts_with('{') {
            text.as_bytes().to_vec()
        } else {
            let joined: String = text.split_ascii_whitespace().collect();
            BASE64.decode(joined).map_err(|_| "the JSON of a service account key, or its base64")?
        };
        let file: Value = serde_json::from_slice(&json).map_err(|_| "the JSON of a service account key, or its base64")?;
        let email = file["client_email"].as_str().filter(|email| email.contains('@')).ok_or("a key with a client_email")?;
        let pem = file["private_key"].as_str().ok_or("a key with a private_key")?;
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "a key whose private_key is PEM")?;
        let key = match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err("a key whose private_key is RSA"),
        };
        let token_uri = file["token_uri"].as_str().unwrap_or(TOKEN_URI);
        Ok(Self(Arc::new(Inner {
            email: email.to_owned(),
            key_id: file["private_key_id"].as_str().map(str::to_owned),
            token_uri: Url::parse(token_uri).map_err(|_| "a key whose token_uri is a URL")?,
            key: key.map_err(|_| "a key whose private_key is RSA")?,
        })))
    }

    pub fn email(&self) -> &str {
        &self.0.email
    }

    pub fn token_uri(&self) -> &Url {
        &self.0.token_uri
    }

    /// A signed request for an access token (RFC 7523). `None` only if the system has no random numbers.
    pub fn assertion(&self, now: DateTime<Utc>) -> Option<String> {
        let issued = now.timestamp();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.0.key_id});
        let claims = json!({
            "iss": self.0.email, "scope": SCOPE, "aud": self.0.token_uri.as_str(), "iat": issued, "exp": issued + LIFETIME,
        });
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.0.key.public_modulus_len()];
        self.0.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_account_errors_do_not_repeat_the_key() {
        for (text, wants) in [
            ("hunter2", "base64"),
            ("{", "JSON"),
            ("{}", "client_email"),
            (r#"{"client_email": "play@example.com"}"#, "a private_key"),
            (r#"{"client_email": "play@example.com", "private_key": "hunter2"}"#, "is PEM"),
            ("eyJjbGllbnRfZW1haWwiOiAieCJ9", "client_email"),
        ] {
            let error = ServiceAccount::parse(text).unwrap_err();
            assert!(error.contains(wants) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
