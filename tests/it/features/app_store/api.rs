//! Stand-in for the App Store Server API: says what the test puts into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const PATH: &str = "/inApps/v1/subscriptions/";

#[derive(Default)]
struct State {
    /// By original transaction id: number of the state, signed transaction, signed renewal.
    held: BTreeMap<String, (i64, String, Option<String>)>,
    /// Status of every answer, instead.
    failing: Option<u16>,
    asked: Vec<(String, HeaderMap)>,
}

/// A running stand-in.
#[derive(Clone)]
pub struct Api {
    url: String,
    key: String,
    state: Arc<Mutex<State>>,
}

impl Api {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = state.clone();
        let answer = move |uri: Uri, headers: HeaderMap| {
            let answer = shared.lock().unwrap().answer(uri.path(), headers);
            async move { answer }
        };
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key));
        Self { url, key, state }
    }

    /// Settings of a server that asks it.
    pub fn vars(&self) -> Vec<(&str, &str)> {
        vec![
            ("APPLE_ISSUER_ID", "issuer"),
            ("APPLE_KEY_ID", "key"),
            ("APPLE_PRIVATE_KEY", &self.key),
            ("APPLE_API_BASE_URL", &self.url),
        ]
    }

    /// Holds this state of a subscription.
    pub fn holds(&self, original: &str, number: i64, transaction: String, renewal: Option<String>) {
        self.state.lock().unwrap().held.insert(original.to_owned(), (number, transaction, renewal));
    }

    pub fn fails(&self, status: Option<u16>) {
        self.state.lock().unwrap().failing = status;
    }

    /// Ids that were asked for, and the headers of the requests.
    pub fn asked(&self) -> Vec<(String, HeaderMap)> {
        self.state.lock().unwrap().asked.clone()
    }
}

impl State {
    fn answer(&mut self, path: &str, headers: HeaderMap) -> Response {
        let id = path.strip_prefix(PATH).unwrap_or_default().to_owned();
        let (status, body) = match (self.failing, self.held.get(&id)) {
            (Some(status), _) => (status, json!({"errorCode": 4_010_000, "errorMessage": "canary"})),
            (None, None) => (404, json!({"errorCode": 4_040_010, "errorMessage": "Original transaction id not found."})),
            (None, Some((number, transaction, renewal))) => {
                let own: Value = json!({
                    "originalTransactionId": id, "status": number, "signedTransactionInfo": transaction, "signedRenewalInfo": renewal
                });
                let other = json!({"originalTransactionId": "another", "status": 1});
                (200, json!({"environment": "Sandbox", "data": [{"lastTransactions": [other]}, {"lastTransactions": [own]}]}))
            }
        };
        self.asked.push((id, headers));
        let answer = Response::builder().status(status).header("content-type", "application/json");
        answer.body(Body::from(body.to_string())).unwrap()
    }
}
