//! Stand-in for Google: token endpoint, keys of pushes, and the Play Developer API, with purchases that tests put there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer as _;
use axum::body::{Body, Bytes};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::issuer::{SigningKey, rsa_key};

pub const PACKAGE: &str = "com.example.app";
pub const AUDIENCE: &str = "https://api.example.com/push";
pub const PUSHER: &str = "push@example.iam.gserviceaccount.com";
pub const ACCESS_TOKEN: &str = "canary-access-token-7d1e";

#[derive(Default)]
struct Shelf {
    purchases: HashMap<String, (u16, Value)>,
    /// What the token endpoint answers, if it fails.
    token_failure: Option<(u16, Value)>,
    /// What every call of the API answers, if it fails.
    failure: Option<u16>,
    lifetime: i64,
    assertions: Vec<String>,
    reads: Vec<String>,
    acknowledged: Vec<String>,
}

/// A running stand-in. Cheap to clone.
#[derive(Clone)]
pub struct Google {
    pub url: String,
    shelf: Arc<Mutex<Shelf>>,
}

impl Google {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shelf = Shelf { lifetime: 3600, ..Shelf::default() };
        let google = Self { url: format!("http://{}", listener.local_addr().unwrap()), shelf: Arc::new(Mutex::new(shelf)) };
        let answering = google.clone();
        let serve = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let (status, body) = answering.answer(&method, uri.path(), &headers, &body);
            Response::builder().status(status).header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
        };
        tokio::spawn(axum::serve(listener, axum::Router::new().fallback(serve)).into_future());
        google
    }

    /// The variables of a server that uses this stand-in.
    pub fn vars(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GOOGLE_PLAY_PACKAGE_NAME", PACKAGE.to_owned()),
            ("GOOGLE_PLAY_SERVICE_ACCOUNT_JSON", STANDARD.encode(self.key_file().to_string())),
            ("GOOGLE_PUBSUB_AUDIENCE", AUDIENCE.to_owned()),
            ("GOOGLE_PUBSUB_SERVICE_ACCOUNT", PUSHER.to_owned()),
            ("GOOGLE_PLAY_BASE_URL", self.url.clone()),
            ("GOOGLE_CERTS_URL", format!("{}/certs", self.url)),
            ("RATE_LIMIT_WEBHOOK", "1000000/minute".to_owned()),
        ]
    }

    /// The JSON key file of the service account.
    pub fn key_file(&self) -> Value {
        let SigningKey::Rsa(pair) = rsa_key(1) else { panic!("not an RSA key") };
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        json!({
            "type": "service_account", "client_email": "play@example.iam.gserviceaccount.com", "private_key_id": "key-1",
            "private_key": pem, "token_uri": format!("{}/token", self.url)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Shelf) -> T) -> T {
        act(&mut self.shelf.lock().unwrap())
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> (u16, Value) {
        match path {
            "/certs" => return (200, json!({"keys": [rsa_key(0).named("push")]})),
            "/token" => return self.token(&String::from_utf8_lossy(body)),
            _ => {}
        }
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        self.with(|shelf| {
            if bearer != format!("Bearer {ACCESS_TOKEN}") {
                return error(401, "authError");
            }
            if let Some(status) = shelf.failure {
                return error(status, "backendError");
            }
            let below = path.strip_prefix(&format!("/androidpublisher/v3/applications/{PACKAGE}/purchases/"));
            let Some(below) = below else { return error(404, "applicationNotFound") };
            if let Some(acknowledged) = below.strip_suffix(":acknowledge").filter(|_| method == Method::POST) {
                shelf.acknowledged.push(acknowledged.to_owned());
                return (200, Value::Null);
            }
            let token = below.strip_prefix("subscriptionsv2/tokens/").filter(|_| method == Method::GET).unwrap_or("?").to_owned();
            shelf.reads.push(token.clone());
            shelf.purchases.get(&token).cloned().unwrap_or_else(|| error(404, "purchaseTokenNotFound"))
        })
    }

    fn token(&self, form: &str) -> (u16, Value) {
        let assertion = form.rsplit("assertion=").next().unwrap_or_default().to_owned();
        self.with(|shelf| {
            shelf.assertions.push(assertion);
            shelf.token_failure.clone().unwrap_or_else(|| (200, json!({"access_token": ACCESS_TOKEN, "expires_in": shelf.lifetime})))
        })
    }

    pub fn fail(&self, status: Option<u16>) {
        self.with(|shelf| shelf.failure = status);
    }

    pub fn fail_tokens(&self, failure: Option<(u16, Value)>) {
        self.with(|shelf| shelf.token_failure = failure);
    }

    /// Puts an answer for a purchase token there.
    pub fn put(&self, token: &str, status: u16, answer: Value) {
        self.with(|shelf| shelf.purchases.insert(token.to_owned(), (status, answer)));
    }

    /// Puts a purchase there.
    pub fn sell(&self, token: &str, purchase: Sold) {
        self.put(token, 200, purchase.0);
    }

    pub fn assertions(&self) -> Vec<String> {
        self.with(|shelf| shelf.assertions.clone())
    }

    pub fn reads(&self) -> usize {
        self.with(|shelf| shelf.reads.len())
    }

    /// Product and token of each acknowledgement.
    pub fn acknowledged(&self) -> Vec<String> {
        self.with(|shelf| shelf.acknowledged.clone())
    }
}

fn error(status: u16, reason: &str) -> (u16, Value) {
    (status, json!({"error": {"code": status, "message": "canary-upstream-2c9f", "errors": [{"reason": reason}]}}))
}

/// A purchase as the API describes it.
#[derive(Clone)]
pub struct Sold(pub Value);

impl Sold {
    pub fn new(state: &str, product: &str, expires: DateTime<Utc>) -> Self {
        Self(json!({
            "kind": "androidpublisher#subscriptionPurchaseV2", "subscriptionState": format!("SUBSCRIPTION_STATE_{state}"),
            "acknowledgementState": "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED", "latestOrderId": "GPA.1..0",
            "lineItems": [{"productId": product, "expiryTime": expires.to_rfc3339()}]
        }))
    }

    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0[name] = value;
        self
    }

    pub fn linked(self, token: &str) -> Self {
        self.with("linkedPurchaseToken", token.into())
    }

    pub fn of(self, user: &str) -> Self {
        self.with("externalAccountIdentifiers", json!({"obfuscatedExternalAccountId": user}))
    }

    pub fn unacknowledged(self) -> Self {
        self.with("acknowledgementState", "ACKNOWLEDGEMENT_STATE_PENDING".into())
    }
}

/// The claims of a valid push token.
pub fn claims(now: DateTime<Utc>) -> Value {
    json!({
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "email": PUSHER, "email_verified": true, "sub": "1",
        "iat": (now - TimeDelta::seconds(5)).timestamp(), "exp": (now + TimeDelta::days(30)).timestamp()
    })
}

/// The body of a push.
pub fn envelope(id: &str, data: &Value) -> Value {
    let data = STANDARD.encode(data.to_string());
    let message = json!({"data": data, "messageId": id, "publishTime": "2026-01-10T12:00:00Z"});
    json!({"message": message, "subscription": "projects/example/subscriptions/play"})
}
