//! Signatures of webhooks (<https://docs.stripe.com/webhooks#verify-manually>).

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};

use crate::platform::crypto;

/// Header of the signature.
pub const SIGNATURE: &str = "stripe-signature";
/// Largest difference between the time of signing and ours. A delivery that was recorded cannot be sent again after it.
const TOLERANCE: TimeDelta = TimeDelta::seconds(300);

/// The header: `t=<Unix seconds>,v1=<hexadecimal>[,v1=…]`. Other schemes are ignored.
#[derive(Debug)]
pub struct Signature<'h> {
    signed_at: DateTime<Utc>,
    /// As it was written, because it is part of the signed text.
    time: &'h str,
    v1: Vec<&'h str>,
}

impl<'h> Signature<'h> {
    /// Fails with the reason, for the log.
    pub fn parse(header: &'h str) -> Result<Self, &'static str> {
        let (mut time, mut v1) = (None, Vec::new());
        for (scheme, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
            match scheme {
                "t" => time = time.or(Some(value)),
                "v1" => v1.push(value),
                _ => {}
            }
        }
        let time = time.ok_or("the header has no time")?;
        let signed_at =
            time.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)).ok_or("the header's time is no number")?;
        if v1.is_empty() {
            return Err("the header has no v1 signature");
        }
        Ok(Self { signed_at, time, v1 })
    }

    /// Checks the signature over the exact bytes of the body. Any secret may have made any `v1` of the header.
    pub fn verify(&self, body: &[u8], secrets: &[SecretString], now: DateTime<Utc>) -> Result<(), &'static str> {
        let signed = [self.time.as_bytes(), b".", body].concat();
        let fits = |secret: &SecretString| {
            let expected = crypto::hex(&crypto::hmac_sha256(secret.expose_secret().as_bytes(), &signed));
            self.v1.iter().any(|given| crypto::same(given.as_bytes(), expected.as_bytes()))
        };
        if !secrets.iter().any(fits) {
            return Err("no secret fits the signature");
        }
        if (now - self.signed_at).abs() > TOLERANCE {
            return Err("the signature is too old, or this host's clock is wrong");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id": "evt_1"}"#;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn sign(secret: &str, seconds: i64) -> String {
        let signed = [format!("{seconds}.").as_bytes(), BODY].concat();
        format!("t={seconds},v1={}", crypto::hex(&crypto::hmac_sha256(secret.as_bytes(), &signed)))
    }

    fn verify(header: &str, body: &[u8]) -> Result<(), &'static str> {
        let secrets = ["whsec_old", "whsec_new"].map(SecretString::from);
        Signature::parse(header)?.verify(body, &secrets, now())
    }

    #[test]
    fn any_secret_and_any_signature_may_fit() {
        for secret in ["whsec_old", "whsec_new"] {
            let header = sign(secret, now().timestamp());
            assert_eq!(verify(&header, BODY), Ok(()));
            let (time, v1) = header.split_once(',').unwrap();
            assert_eq!(verify(&format!("{time}, v0=1, v1={}, {v1}", "0".repeat(64)), BODY), Ok(()));
        }
        assert!(verify(&sign("whsec_other", now().timestamp()), BODY).is_err());
        assert!(verify(&sign("whsec_old", now().timestamp()), b"{}").is_err());
    }

    #[test]
    fn time_is_tolerated_for_five_minutes() {
        for (seconds, fits) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            assert_eq!(verify(&sign("whsec_old", now().timestamp() + seconds), BODY).is_ok(), fits, "{seconds}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        let good = sign("whsec_old", now().timestamp());
        let (time, v1) = good.split_once(',').unwrap();
        let others = [time.to_owned(), v1.to_owned(), good.replace("v1=", "v0="), format!("t=x,{v1}"), format!("t={},{v1}", i64::MAX)];
        for header in others.iter().map(String::as_str).chain(["", ",", "=", "t=,v1=", "t", "v1=é"]) {
            assert!(verify(header, BODY).is_err(), "{header}");
        }
    }
}
