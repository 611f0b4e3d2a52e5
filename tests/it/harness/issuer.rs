//! Token issuer stub: a server that publishes a JWKS document, and the private keys to sign tokens with.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use axum::body::Body;
use axum::response::Response;
use http::Uri;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::tokens::{base64url, signed_part};

/// Generated once, because RSA key generation is slow.
static RSA: LazyLock<[SigningKey; 2]> = LazyLock::new(|| [rsa(), rsa()]);
static EC: LazyLock<[SigningKey; 2]> = LazyLock::new(|| [ec(), ec()]);

/// A private key of an issuer.
pub enum SigningKey {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

fn rsa() -> SigningKey {
    SigningKey::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

fn ec() -> SigningKey {
    SigningKey::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
}

/// The first or the second RSA key of the tests.
pub fn rsa_key(n: usize) -> &'static SigningKey {
    &RSA[n]
}

/// The first or the second P-256 key of the tests.
pub fn ec_key(n: usize) -> &'static SigningKey {
    &EC[n]
}

impl SigningKey {
    /// The public key as a JWK, without `kid`, `alg` and `use`.
    pub fn jwk(&self) -> Value {
        match self {
            Self::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let number = |bytes: &[u8]| base64url(bytes);
                json!({"kty": "RSA", "n": number(n.big_endian_without_leading_zero()), "e": number(e.big_endian_without_leading_zero())})
            }
            Self::Ec(pair) => {
                // Uncompressed: 4, then both coordinates of 32 bytes.
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..65])})
            }
        }
    }

    /// [`SigningKey::jwk`] with a `kid`.
    pub fn named(&self, kid: &str) -> Value {
        let mut jwk = self.jwk();
        jwk["kid"] = kid.into();
        jwk
    }

    /// The bytes of the public key.
    pub fn public_bytes(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ec(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token with this key's algorithm.
    pub fn token(&self, kid: &str, body: &Value) -> String {
        let alg = match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
        };
        self.sign(&json!({"alg": alg, "typ": "JWT", "kid": kid}), body)
    }

    /// A token with this header, signed by this key.
    pub fn sign(&self, header: &Value, body: &Value) -> String {
        let message = signed_part(header.to_string(), body.to_string());
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", base64url(&signature))
    }
}

/// A running server that returns its document for every path.
pub struct Issuer {
    pub url: String,
    answer: Arc<Mutex<(u16, Vec<u8>)>>,
    location: Arc<Mutex<String>>,
    fetches: Arc<AtomicUsize>,
    paths: Arc<Mutex<Vec<String>>>,
    held: watch::Sender<bool>,
}

impl Issuer {
    /// Starts an issuer that publishes these keys.
    pub async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            answer: Arc::default(),
            location: Arc::default(),
            fetches: Arc::default(),
            paths: Arc::default(),
            held: watch::Sender::new(false),
        };
        issuer.publish(keys);
        let (answer, fetches, paths, held) = (issuer.answer.clone(), issuer.fetches.clone(), issuer.paths.clone(), issuer.held.subscribe());
        let location = issuer.location.clone();
        let serve = move |uri: Uri| async move {
            fetches.fetch_add(1, Ordering::SeqCst);
            paths.lock().unwrap().push(uri.path().to_owned());
            // Fails only after the issuer was dropped.
            let _ = held.clone().wait_for(|held| !held).await;
            let (status, body) = answer.lock().unwrap().clone();
            let location = location.lock().unwrap().clone();
            let response = Response::builder().status(status).header("content-type", "application/json").header("location", location);
            response.body(Body::from(body)).unwrap()
        };
        tokio::spawn(axum::serve(listener, axum::Router::new().fallback(serve)).into_future());
        issuer
    }

    /// Replaces the published keys.
    pub fn publish(&self, keys: &[Value]) {
        self.answer_with(200, json!({"keys": keys}).to_string());
    }

    /// Sets the response of all further requests.
    pub fn answer_with(&self, status: u16, body: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = (status, body.into());
    }

    /// Redirects all further requests.
    pub fn redirect_to(&self, status: u16, url: &str) {
        url.clone_into(&mut self.location.lock().unwrap());
        self.answer_with(status, "");
    }

    /// Number of requests so far.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// The requested paths.
    pub fn paths(&self) -> Vec<String> {
        self.paths.lock().unwrap().clone()
    }

    /// Holds all requests, or releases them.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Waits until at least this number of requests have arrived.
    pub async fn asked(&self, times: usize) {
        super::eventually("the issuer receives the request", async || self.fetches() >= times).await;
    }
}
