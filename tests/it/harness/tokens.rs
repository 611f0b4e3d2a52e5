//! Token builders, for valid and for forged tokens.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use omnistack::platform::clock::Clock;
use serde_json::{Value, json};

/// Header and claims of a token that is not signed yet.
#[derive(Clone)]
pub struct Claims {
    pub header: Header,
    pub body: Value,
}

/// Valid claims of a user: issued 5 seconds ago and valid for one hour by the test clock.
pub fn claims(subject: &str, clock: &Clock) -> Claims {
    let now = clock.now().timestamp();
    let body = json!({"sub": subject, "email": format!("{subject}@example.test"), "iat": now - 5, "exp": now + 3600});
    Claims { header: Header::new(Algorithm::HS256), body }
}

impl Claims {
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.body[name] = value;
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.body.as_object_mut().unwrap().remove(name);
        self
    }

    pub fn alg(mut self, algorithm: Algorithm) -> Self {
        self.header.alg = algorithm;
        self
    }

    pub fn sign(&self, secret: &str) -> String {
        encode(&self.header, &self.body, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The encoded header and payload of a token; the contents are not checked.
pub fn signed_part(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    format!("{}.{}", base64url(header), base64url(payload))
}

/// A token of this header and payload with a valid HMAC-SHA256 signature.
pub fn seal(message: &str, secret: &[u8]) -> String {
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", base64url(signature))
}
