//! Signatures of Svix, which sends Clerk's webhooks (docs.svix.com, "Verifying webhooks manually").

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use crate::platform::crypto;

/// How far the time of a delivery may be from ours, in seconds.
const TOLERANCE: u64 = 300;

/// A signing key.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Decodes `whsec_<base64>`; `None` for other texts and for an empty key, with which anybody could sign.
    pub fn parse(text: &SecretString) -> Option<Self> {
        let text = text.expose_secret().trim();
        let key = STANDARD_NO_PAD.decode(text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=')).ok()?;
        (!key.is_empty()).then(|| Self(key.into()))
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Verifies a delivery and returns its id; the error says why it is refused. Any of the secrets may have signed it, and any of the
/// signatures may fit.
pub fn verify<'h>(secrets: &[Secret], headers: &'h HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<&'h str, &'static str> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
    let id = header("svix-id").ok_or("svix-id is missing")?;
    let time = header("svix-timestamp").ok_or("svix-timestamp is missing")?;
    let signatures = header("svix-signature").ok_or("svix-signature is missing")?;
    let seconds: i64 = time.parse().map_err(|_| "svix-timestamp is no number")?;
    if seconds.abs_diff(now.timestamp()) > TOLERANCE {
        return Err("svix-timestamp is more than 5 minutes from our clock");
    }
    let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    let expected: Vec<_> = secrets.iter().map(|secret| crypto::hmac_sha256(&secret.0, &signed)).collect();
    let given = signatures.split(' ').filter_map(|entry| entry.strip_prefix("v1,"));
    let mut given = given.filter_map(|signature| STANDARD_NO_PAD.decode(signature.trim_end_matches('=')).ok());
    let fits = given.any(|given| expected.iter().any(|expected| crypto::same(expected, &given)));
    if fits { Ok(id) } else { Err("no signature fits") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Svix's documentation and of its libraries' tests.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> Option<Secret> {
        Secret::parse(&SecretString::from(text))
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn headers(id: &str, time: &str, signature: &str) -> HeaderMap {
        let named = [("svix-id", id), ("svix-timestamp", time), ("svix-signature", signature)];
        named.into_iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn svix_published_vector_verifies() {
        let (secrets, time) = ([secret(SECRET).unwrap()], TIME.to_string());
        let fits = |signature: &str, body: &[u8]| verify(&secrets, &headers(ID, &time, signature), body, at(TIME)).map(str::to_owned);
        assert_eq!(fits(SIGNATURE, BODY).as_deref(), Ok(ID));
        assert_eq!(fits(&format!("v1,AAAA v2,{} {SIGNATURE}", &SIGNATURE[3..]), BODY).as_deref(), Ok(ID));
        for wrong in ["", "v1,", "v1", "v1,AAAA", &SIGNATURE[3..], &format!("v2,{}", &SIGNATURE[3..]), &SIGNATURE[..SIGNATURE.len() - 3]] {
            assert!(fits(wrong, BODY).is_err(), "{wrong}");
        }
        assert!(fits(SIGNATURE, br#"{"test": 2432232315}"#).is_err());
        assert!(verify(&secrets, &headers("msg_other", &time, SIGNATURE), BODY, at(TIME)).is_err());
        assert!(verify(&[], &headers(ID, &time, SIGNATURE), BODY, at(TIME)).is_err());
    }

    #[test]
    fn svix_time_more_than_five_minutes_away_is_refused() {
        let secrets = [secret(SECRET).unwrap()];
        for (away, fits) in [(0, true), (300, true), (-300, true), (301, false), (-301, false)] {
            let is_verified = verify(&secrets, &headers(ID, &TIME.to_string(), SIGNATURE), BODY, at(TIME + away)).is_ok();
            assert_eq!(is_verified, fits, "{away}");
        }
        for time in ["9223372036854775808", "-9223372036854775808", "1e9", ""] {
            assert!(verify(&secrets, &headers(ID, time, SIGNATURE), BODY, at(TIME)).is_err(), "{time}");
        }
    }

    #[test]
    fn secret_any_of_several_may_have_signed() {
        let other = secret("whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=").unwrap();
        let both = [other.clone(), secret(SECRET).unwrap()];
        let headers = headers(ID, &TIME.to_string(), SIGNATURE);
        assert!(verify(&both, &headers, BODY, at(TIME)).is_ok() && verify(&[other], &headers, BODY, at(TIME)).is_err());
    }

    #[test]
    fn secret_without_a_key_is_refused() {
        assert_eq!(secret(SECRET).unwrap().len(), 24);
        assert_eq!(secret(&format!("{SECRET}\n")).unwrap().len(), 24);
        for bad in ["", "whsec_", "whsec_=", "whsec_%", "whsec_x"] {
            assert!(secret(bad).is_none(), "{bad}");
        }
    }
}
