//! A compact JWS (RFC 7515): its parts, before and apart from trust in any of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// The header of a compact JWS. Unknown members are ignored.
#[derive(Deserialize)]
pub struct Header {
    pub alg: String,
    pub kid: Option<String>,
    pub typ: Option<String>,
    /// Certificates of the signer.
    pub x5c: Option<Value>,
    crit: Option<Value>,
}

/// A parsed JWS that is not verified.
pub struct Jws<'t> {
    pub header: Header,
    message: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Jws<'t> {
    /// Splits a token and reads its header. A token with `crit` is refused, because we know no extension.
    pub fn parse(token: &'t str) -> Result<Self, Refusal> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Invalid("not three parts"))?;
        let (header, payload) = message.split_once('.').ok_or(Refusal::Invalid("not three parts"))?;
        if payload.contains('.') {
            return Err(Refusal::Invalid("more than three parts"));
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Refusal::Invalid("header is not base64url"))?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| Refusal::Invalid("header does not match the schema"))?;
        if header.crit.is_some() {
            return Err(Refusal::Invalid("crit names extensions that we do not know"));
        }
        if signature.is_empty() {
            return Err(Refusal::Invalid("not signed"));
        }
        Ok(Self { header, message, payload, signature })
    }

    /// Whether one of the keys has made the signature. The caller chooses the algorithm, never the token.
    pub fn is_signed_by(&self, keys: &[DecodingKey], algorithm: Algorithm) -> bool {
        let fits = |key| matches!(jsonwebtoken::crypto::verify(self.signature, self.message.as_bytes(), key, algorithm), Ok(true));
        keys.iter().any(fits)
    }

    /// The claims, which mean nothing before the signature is verified.
    pub fn claims(&self) -> Result<Map<String, Value>, Refusal> {
        let payload = URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| Refusal::Invalid("payload is not base64url"))?;
        serde_json::from_slice(&payload).map_err(|_| Refusal::Invalid("payload is not a JSON object"))
    }
}
