//! Tokens as issuers make them, and as attackers do.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use omnistack::platform::clock::Clock;
use serde_json::{Value, json};

/// Claims about to be signed.
#[derive(Clone)]
pub struct Claims {
    pub header: Header,
    pub body: Value,
}

/// Ordinary claims of a user: issued a moment ago, valid for an hour of the test's clock.
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

    pub fn sign(&self, secret: &str) -> String {
        encode(&self.header, &self.body, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }
}
