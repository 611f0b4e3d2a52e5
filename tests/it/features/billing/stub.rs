//! Stub of Stripe's API: keeps customers, checkouts and subscriptions, answers a repeated idempotency key with the first answer,
//! and records each request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;

use crate::harness::gate::Gate;

/// A received request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub form: BTreeMap<String, String>,
    pub headers: HeaderMap,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn call(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Status and body.
pub type Answer = (u16, Value);
type Overrule = dyn FnMut(&Asked) -> Option<Answer> + Send;

#[derive(Default)]
pub struct Account {
    pub subscriptions: Vec<Value>,
    /// Newest first.
    pub checkouts: Vec<Value>,
    pub invoices: Vec<Value>,
    pub prices: HashMap<String, Value>,
    pub endpoints: Vec<Value>,
    /// Customers that were deleted.
    pub gone: HashSet<String>,
    /// Whether a cancellation sets only `cancel_at`.
    pub flexible: bool,
    made: usize,
    answers: HashMap<String, Answer>,
    asked: Vec<Asked>,
    overrule: Option<Box<Overrule>>,
    /// Path of requests that wait.
    gate: Option<(&'static str, Gate)>,
    /// Answers everything: status, header and body.
    raw: Option<(u16, (&'static str, &'static str), &'static str)>,
}

#[derive(Clone)]
pub struct Stub {
    pub url: String,
    account: Arc<Mutex<Account>>,
}

impl Stub {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self { url: format!("http://{}", listener.local_addr().unwrap()), account: Arc::default() };
        let account = stub.account.clone();
        let serve = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let gate = account.lock().unwrap().gate.clone().filter(|(path, _)| *path == uri.path());
            if let Some((_, gate)) = gate {
                gate.pass().await;
            }
            let mut account = account.lock().unwrap();
            let asked = asked(method, &uri, headers, &body);
            if let Some((status, (name, value), body)) = account.raw {
                account.asked.push(asked);
                return Response::builder().status(status).header(name, value).body(Body::from(body)).unwrap();
            }
            let (status, body) = account.answer(&asked);
            let response = Response::builder().status(status).header("content-type", "application/json");
            response.body(Body::from(body.to_string())).unwrap()
        };
        tokio::spawn(axum::serve(listener, axum::Router::new().fallback(serve)).into_future());
        stub
    }

    /// Reads or changes what Stripe knows.
    pub fn with<T>(&self, act: impl FnOnce(&mut Account) -> T) -> T {
        act(&mut self.account.lock().unwrap())
    }

    /// Answers further requests of which the function makes an answer.
    pub fn overrule(&self, overrule: impl FnMut(&Asked) -> Option<Answer> + Send + 'static) {
        self.with(|account| account.overrule = Some(Box::new(overrule)));
    }

    /// Holds further requests of this path.
    pub fn with_gate(&self, path: &'static str) -> Gate {
        let gate = Gate::closed();
        self.with(|account| account.gate = Some((path, gate.clone())));
        gate
    }

    /// Answers further requests with this status, header and body.
    pub fn answer_raw(&self, status: u16, header: (&'static str, &'static str), body: &'static str) {
        self.with(|account| account.raw = Some((status, header, body)));
    }

    /// Answers further requests as usual.
    pub fn recover(&self) {
        self.with(|account| account.overrule = None);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.with(|account| account.asked.clone())
    }

    /// Method and path of the requests since the last call of this.
    pub fn take_calls(&self) -> Vec<String> {
        self.with(|account| account.asked.drain(..).map(|asked| asked.call()).collect())
    }

    /// The only request with this method and path.
    #[track_caller]
    pub fn only(&self, call: &str) -> Asked {
        let all = self.asked();
        let found: Vec<_> = all.iter().filter(|asked| asked.call() == call).collect();
        assert_eq!(found.len(), 1, "{call} in {:?}", all.iter().map(Asked::call).collect::<Vec<_>>());
        found[0].clone()
    }
}

fn asked(method: Method, uri: &Uri, headers: HeaderMap, body: &[u8]) -> Asked {
    let pairs = |bytes: &[u8]| form_urlencoded::parse(bytes).into_owned().collect();
    let (query, form) = (pairs(uri.query().unwrap_or_default().as_bytes()), pairs(body));
    Asked { method, path: uri.path().to_owned(), query, form, headers }
}

pub fn error(status: u16, kind: &str, code: &str, param: &str) -> Answer {
    (status, json!({"error": {"type": kind, "code": code, "param": param, "message": "A message that names ada@example.test"}}))
}

pub fn missing(param: &str) -> Answer {
    error(if param == "id" { 404 } else { 400 }, "invalid_request_error", "resource_missing", param)
}

fn list(items: &[Value]) -> Answer {
    (200, json!({"object": "list", "data": items, "has_more": false}))
}

/// Those of a customer.
fn of(all: &[Value], customer: &str) -> Vec<Value> {
    all.iter().filter(|object| object["customer"] == customer).cloned().collect()
}

impl Account {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.asked.push(asked.clone());
        if let Some(answer) = self.overrule.as_mut().and_then(|overrule| overrule(asked)) {
            return answer;
        }
        let key = asked.header("idempotency-key").to_owned();
        if let Some(answer) = self.answers.get(&key) {
            return answer.clone();
        }
        let answer = self.act(asked);
        if !key.is_empty() {
            self.answers.insert(key, answer.clone());
        }
        answer
    }

    fn act(&mut self, asked: &Asked) -> Answer {
        let customer = asked.form.get("customer").or(asked.query.get("customer")).cloned().unwrap_or_default();
        if self.gone.contains(&customer) {
            return missing("customer");
        }
        let parts: Vec<&str> = asked.path.trim_start_matches("/v1/").split('/').collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("POST", ["customers"]) => {
                self.made += 1;
                (200, json!({"id": format!("cus_{}", self.made), "object": "customer"}))
            }
            ("POST", ["checkout", "sessions"]) => self.open_checkout(asked, &customer),
            ("GET", ["checkout", "sessions"]) => list(&of(&self.checkouts, &customer)),
            ("POST", ["billing_portal", "sessions"]) => (200, json!({"url": format!("https://billing.example/p/{customer}")})),
            ("GET", ["subscriptions"]) => list(&of(&self.subscriptions, &customer)),
            ("GET", ["invoices"]) => list(&self.invoices),
            ("GET", ["prices", id]) => self.prices.get(*id).map_or_else(|| missing("price"), |price| (200, price.clone())),
            ("GET", ["webhook_endpoints"]) => list(&self.endpoints),
            (method, ["subscriptions", id]) => self.on_subscription(method, id, asked),
            _ => error(404, "invalid_request_error", "", ""),
        }
    }

    fn open_checkout(&mut self, asked: &Asked, customer: &str) -> Answer {
        self.made += 1;
        let (id, field) = (format!("cs_{}", self.made), |name: &str| asked.form.get(name).cloned());
        let session = json!({
            "id": id, "object": "checkout.session", "status": "open", "mode": field("mode"), "customer": customer,
            "url": format!("https://checkout.example/{id}"), "success_url": field("success_url"), "cancel_url": field("cancel_url"),
            "line_items": {"data": [{"price": {"id": field("line_items[0][price]")}}]}
        });
        self.checkouts.insert(0, session.clone());
        (200, session)
    }

    fn on_subscription(&mut self, method: &str, id: &str, asked: &Asked) -> Answer {
        let flexible = self.flexible;
        let Some(found) = self.subscriptions.iter_mut().find(|subscription| subscription["id"] == id) else { return missing("id") };
        let (flag, time) = (asked.form.get("cancel_at_period_end"), asked.form.get("cancel_at"));
        match (method, flag.map(String::as_str), time.map(String::as_str)) {
            ("GET", ..) => {}
            ("DELETE", ..) if found["status"] == "canceled" => return missing("id"),
            ("DELETE", ..) => found["status"] = "canceled".into(),
            ("POST", Some(_), Some(_)) => return error(400, "invalid_request_error", "", "cancel_at"),
            ("POST", Some("true"), None) => {
                found["cancel_at"] = found["items"]["data"][0]["current_period_end"].clone();
                found["cancel_at_period_end"] = (!flexible).into();
            }
            ("POST", Some(_), None) if flexible => {}
            ("POST", Some(_), None) => (found["cancel_at"], found["cancel_at_period_end"]) = (Value::Null, false.into()),
            ("POST", None, Some("")) => found["cancel_at"] = Value::Null,
            other => panic!("{other:?}"),
        }
        (200, found.clone())
    }
}
