//! Certificate authorities like Apple's, and what they sign.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, date_time_ymd,
};
use serde_json::{Value, json};

const LEAF_MARK: &[u64] = &[1, 2, 840, 113_635, 100, 6, 11, 1];
const ISSUER_MARK: &[u64] = &[1, 2, 840, 113_635, 100, 6, 2, 1];

/// The authority that the test servers trust.
pub static APPLE: LazyLock<Authority> = LazyLock::new(|| Authority::new(&Recipe::default()));
/// A self-made one of the same shape.
pub static ROGUE: LazyLock<Authority> = LazyLock::new(|| Authority::new(&Recipe::default()));

/// How the certificates of a chain differ from good ones.
#[derive(Clone, Copy)]
pub struct Recipe {
    pub issuer_is_marked: bool,
    pub leaf_is_marked: bool,
    /// The years between which the leaf is valid.
    pub leaf_years: (i32, i32),
}

impl Default for Recipe {
    fn default() -> Self {
        Self { issuer_is_marked: true, leaf_is_marked: true, leaf_years: (2020, 2090) }
    }
}

/// A root certificate, DER, and its key.
struct Root {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A root, an intermediate and a leaf with its key.
pub struct Authority {
    root: Arc<Root>,
    /// Leaf first, as in the header of a JWS.
    pub chain: [String; 3],
    key: EcdsaKeyPair,
}

fn params(name: &str, is_ca: bool, mark: Option<&[u64]>, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params.custom_extensions = mark.map(|mark| CustomExtension::from_oid_content(mark, vec![5, 0])).into_iter().collect();
    params
}

fn text(certificate: &Certificate) -> String {
    STANDARD.encode(certificate.der())
}

impl Authority {
    pub fn new(recipe: &Recipe) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let params = params("Test Root", true, None, (2015, 2095));
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self::under(Arc::new(Root { der, issuer: Issuer::new(params, key) }), recipe)
    }

    /// Another chain under the same root.
    pub fn sibling(&self, recipe: &Recipe) -> Self {
        Self::under(self.root.clone(), recipe)
    }

    fn under(root: Arc<Root>, recipe: &Recipe) -> Self {
        let between_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let between_params = params("Test Authority", true, recipe.issuer_is_marked.then_some(ISSUER_MARK), (2016, 2094));
        let between = between_params.signed_by(&between_key, &root.issuer).unwrap();
        let between_issuer = Issuer::new(between_params, between_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let leaf = params("Test Signing", false, recipe.leaf_is_marked.then_some(LEAF_MARK), recipe.leaf_years);
        let leaf = leaf.signed_by(&key, &between_issuer).unwrap();
        Self {
            chain: [text(&leaf), text(&between), STANDARD.encode(&root.der)],
            root,
            key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der()).unwrap(),
        }
    }

    /// The root certificate, DER.
    pub fn root(&self) -> &[u8] {
        &self.root.der
    }

    /// A JWS as Apple's.
    pub fn sign(&self, payload: &Value) -> String {
        self.sign_with(&json!({"alg": "ES256", "x5c": self.chain}), payload)
    }

    /// A JWS with this header, signed by the leaf's key.
    pub fn sign_with(&self, header: &Value, payload: &Value) -> String {
        let message = message(header, payload);
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A JWS with an HMAC whose key is the leaf certificate: what a confusion of algorithms would accept.
    pub fn sign_with_hmac(&self, payload: &Value) -> String {
        let message = message(&json!({"alg": "HS256", "x5c": self.chain}), payload);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(&self.chain[0]).unwrap());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
    }
}

fn message(header: &Value, payload: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(payload))
}
