//! Verifies what Apple signs: notices, transactions and renewal infos, each a JWS with its certificate chain. Needs no network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::chain;
use super::config::Config;
use crate::platform::auth::jws::Jws;

/// Longest JWS, in bytes. Apple's are below 20 KiB.
const LONGEST: usize = 256 * 1024;
/// How far ahead of our clock Apple's may be.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// Trusts one root. Cheap to make.
pub struct Verifier {
    root: Vec<u8>,
}

impl Verifier {
    /// `None` if the App Store is not configured.
    pub fn new(config: &Config) -> Option<Self> {
        config.bundle_id.as_ref().map(|_| Self { root: config.root.clone() })
    }

    /// Returns the payload of a JWS that Apple has signed, or why it is refused. The certificates must have been valid when it was
    /// signed, not now: a notice that was delayed is still true.
    pub fn verify(&self, jws: &str, now: DateTime<Utc>) -> Result<Value, &'static str> {
        if jws.len() > LONGEST {
            return Err("too long");
        }
        let jws = Jws::parse(jws).map_err(|_| "not a JWS")?;
        if jws.header.alg != "ES256" {
            return Err("signed with another algorithm than ES256");
        }
        let chain = certificates(jws.header.x5c.as_ref()).ok_or("without a chain of three certificates")?;
        let claims = jws.claims().map_err(|_| "not a JWS of a JSON object")?;
        let signed = match claims.get("signedDate") {
            None => now,
            Some(time) => time.as_i64().and_then(DateTime::from_timestamp_millis).ok_or("signedDate is not a time")?,
        };
        if signed > now + AHEAD {
            return Err("signed in the future");
        }
        let key = chain::verify(&self.root, &chain, signed)?;
        if !jws.is_signed_by(&[DecodingKey::from_ec_der(&key)], Algorithm::ES256) {
            return Err("not signed by the key of its certificate");
        }
        Ok(Value::Object(claims))
    }
}

/// Exactly three certificates, leaf first.
fn certificates(x5c: Option<&Value>) -> Option<[Vec<u8>; 3]> {
    let all = x5c?.as_array()?.iter().map(|text| STANDARD.decode(text.as_str()?).ok());
    all.take(4).collect::<Option<Vec<_>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use rcgen::{
        BasicConstraints, Certificate, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
        PKCS_ECDSA_P384_SHA384, date_time_ymd,
    };
    use serde_json::json;

    use super::*;

    const LEAF_MARK: &[u64] = &[1, 2, 840, 113_635, 100, 6, 11, 1];
    const ISSUER_MARK: &[u64] = &[1, 2, 840, 113_635, 100, 6, 2, 1];

    /// A chain like Apple's, valid in 2026.
    struct Chain {
        root: Certificate,
        intermediate: Certificate,
        leaf: Certificate,
        key: KeyPair,
    }

    fn params(name: &str, is_ca: bool, mark: Option<&[u64]>) -> CertificateParams {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params.custom_extensions = mark.map(|mark| CustomExtension::from_oid_content(mark, vec![5, 0])).into_iter().collect();
        params
    }

    fn chain(issuer_mark: Option<&[u64]>, leaf_mark: Option<&[u64]>) -> Chain {
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let root_params = params("Test Root", true, None);
        let root = root_params.self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(root_params, root_key);
        let between_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let between_params = params("Test Authority", true, issuer_mark);
        let intermediate = between_params.signed_by(&between_key, &root_issuer).unwrap();
        let between_issuer = Issuer::new(between_params, between_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let leaf = params("Test Signing", false, leaf_mark).signed_by(&key, &between_issuer).unwrap();
        Chain { root, intermediate, leaf, key }
    }

    fn good() -> Chain {
        chain(Some(ISSUER_MARK), Some(LEAF_MARK))
    }

    impl Chain {
        fn x5c(&self) -> Vec<String> {
            [&self.leaf, &self.intermediate, &self.root].map(|certificate| STANDARD.encode(certificate.der())).to_vec()
        }

        fn sign(&self, header: &Value, payload: &Value) -> String {
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", encode(header), encode(payload));
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, self.key.serialized_der()).unwrap();
            let signature = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        }

        fn verifier(&self) -> Verifier {
            Verifier { root: self.root.der().to_vec() }
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn payload() -> Value {
        json!({"notificationType": "TEST", "signedDate": now().timestamp_millis()})
    }

    fn header(chain: &Chain) -> Value {
        json!({"alg": "ES256", "x5c": chain.x5c()})
    }

    #[test]
    fn payload_signed_by_the_chain_is_returned() {
        let chain = good();
        let jws = chain.sign(&header(&chain), &payload());
        assert_eq!(chain.verifier().verify(&jws, now()), Ok(payload()));
        // Verified as of its signing: the certificates may have expired since.
        assert_eq!(chain.verifier().verify(&jws, now() + TimeDelta::days(1000)), Ok(payload()));
    }

    #[test]
    fn every_other_chain_is_refused() {
        let (chain, rogue) = (good(), good());
        let refused = |jws: &str| chain.verifier().verify(jws, now()).unwrap_err();
        let with = |x5c: &[String]| json!({"alg": "ES256", "x5c": x5c});
        let (own, foreign) = (chain.x5c(), rogue.x5c());
        assert_eq!(refused(&rogue.sign(&header(&rogue), &payload())), "the chain ends in another root");
        for x5c in [vec![foreign[0].clone(), foreign[1].clone(), own[2].clone()], vec![foreign[0].clone(), own[1].clone(), own[2].clone()]]
        {
            assert_eq!(refused(&rogue.sign(&with(&x5c), &payload())), "the chain is not valid at the time of signing");
        }
        assert_eq!(refused(&rogue.sign(&header(&chain), &payload())), "not signed by the key of its certificate");
        let four: Vec<_> = own.iter().chain([&own[2]]).cloned().collect();
        for x5c in [&own[..1], &own[..2], &four[..], &[]] {
            assert_eq!(refused(&chain.sign(&with(x5c), &payload())), "without a chain of three certificates");
        }
        for x5c in [json!("x"), json!([1, 2, 3]), json!(["!", "!", "!"]), json!(null)] {
            assert_eq!(refused(&chain.sign(&json!({"alg": "ES256", "x5c": x5c}), &payload())), "without a chain of three certificates");
        }
        let garbage = [STANDARD.encode("x"), own[1].clone(), own[2].clone()];
        assert_eq!(refused(&chain.sign(&with(&garbage), &payload())), "the leaf is not a certificate");
    }

    #[test]
    fn certificates_need_apples_marks() {
        for (issuer, leaf) in [(None, Some(LEAF_MARK)), (Some(ISSUER_MARK), None), (Some(LEAF_MARK), Some(ISSUER_MARK))] {
            let chain = chain(issuer, leaf);
            let jws = chain.sign(&header(&chain), &payload());
            assert_eq!(chain.verifier().verify(&jws, now()), Err("a certificate lacks Apple's mark"));
        }
    }

    #[test]
    fn time_of_signing_must_be_within_the_certificates_and_not_ahead() {
        let chain = good();
        let signed = |at: Value| chain.sign(&header(&chain), &json!({"signedDate": at}));
        let at = |day: &str| json!(format!("{day}T00:00:00Z").parse::<DateTime<Utc>>().unwrap().timestamp_millis());
        let verify = |at: Value| chain.verifier().verify(&signed(at), now()).unwrap_err();
        assert_eq!(verify(at("2025-12-01")), "the chain is not valid at the time of signing");
        assert_eq!(verify(at("2026-06-02")), "signed in the future");
        assert_eq!(verify(json!(-1)), "the time of signing is not a time");
        for wrong in [json!("x"), json!(1.5), json!(null), json!(i64::MAX)] {
            assert_eq!(verify(wrong), "signedDate is not a time");
        }
        // Without a time it counts as signed now.
        let jws = chain.sign(&header(&chain), &json!({}));
        assert!(chain.verifier().verify(&jws, now()).is_ok());
        assert!(chain.verifier().verify(&jws, now() + TimeDelta::days(1000)).is_err());
    }

    #[test]
    fn other_algorithms_and_altered_parts_are_refused() {
        let chain = good();
        for alg in ["none", "HS256", "ES384", "RS256", "es256"] {
            let jws = chain.sign(&json!({"alg": alg, "x5c": chain.x5c()}), &payload());
            assert_eq!(chain.verifier().verify(&jws, now()), Err("signed with another algorithm than ES256"));
        }
        let jws = chain.sign(&header(&chain), &payload());
        let parts: Vec<_> = jws.split('.').collect();
        let other = URL_SAFE_NO_PAD.encode(json!({"notificationType": "REFUND", "signedDate": now().timestamp_millis()}).to_string());
        for altered in
            [format!("{}.{other}.{}", parts[0], parts[2]), format!("{}.{}.", parts[0], parts[1]), "a.b.c".to_owned(), String::new()]
        {
            assert!(chain.verifier().verify(&altered, now()).is_err(), "{altered}");
        }
        let critical = chain.sign(&json!({"alg": "ES256", "x5c": chain.x5c(), "crit": ["x"]}), &payload());
        assert_eq!(chain.verifier().verify(&critical, now()), Err("not a JWS"));
    }

    #[test]
    fn no_change_of_a_byte_panics_or_is_accepted() {
        let chain = good();
        let jws = chain.sign(&header(&chain), &payload());
        let (verifier, step) = (chain.verifier(), 97);
        for at in (0..jws.len()).step_by(step) {
            for byte in [b'A', b'.', b'0', 0x7f] {
                let mut bytes = jws.clone().into_bytes();
                if std::mem::replace(&mut bytes[at], byte) != byte {
                    let altered = String::from_utf8(bytes).unwrap();
                    // The last bits of base64 may stand for nothing.
                    assert!(verifier.verify(&altered, now()).is_err() || at + 1 == jws.len(), "byte {at}");
                }
            }
        }
    }
}
