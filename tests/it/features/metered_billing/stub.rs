//! Stub of Stripe's meters. As Stripe, it counts each identifier once within 24 hours, and answers a repeated idempotency key
//! with the first answer, failures included. It also cuts connections, before or after it has counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use omnistack::platform::clock::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;

use crate::harness::gate::Gate;

const MEMORY: TimeDelta = TimeDelta::hours(24);

/// An event that was sent, and the key that it was sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub form: BTreeMap<String, String>,
    pub key: String,
    pub authorization: String,
}

impl Event {
    pub fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }

    pub fn customer(&self) -> &str {
        self.field("payload[stripe_customer_id]")
    }

    pub fn value(&self) -> i64 {
        self.field("payload[value]").parse().unwrap()
    }

    pub fn at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.field("timestamp").parse().unwrap(), 0).unwrap()
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No answer, and nothing counted.
    CutBefore,
    /// Counted, and no answer.
    CutAfter,
    /// This status, and nothing counted.
    Status(u16),
    /// Counted, but answered with this status.
    CountedThen(u16),
    /// The parameters are refused, whatever was counted before.
    Refuse,
    /// The documented code of a duplicate, instead of the message.
    DuplicateByCode,
}

type Answer = (u16, Value);
type Plan = dyn FnMut(&Event) -> Option<Fault> + Send;

#[derive(Default)]
pub struct Account {
    pub meters: Vec<Value>,
    /// Customers that were deleted.
    pub gone: HashSet<String>,
    /// Everything that was counted.
    pub counted: Vec<Event>,
    /// Whether summaries cannot be read.
    pub blind: bool,
    sent: Vec<Event>,
    summaries: usize,
    known: HashMap<String, DateTime<Utc>>,
    answers: HashMap<String, (DateTime<Utc>, Answer)>,
    plan: Option<Box<Plan>>,
    clock: Option<Clock>,
    gate: Option<Gate>,
}

#[derive(Clone)]
pub struct Stub {
    pub url: String,
    account: Arc<Mutex<Account>>,
}

pub fn meter(event_name: &str) -> Value {
    json!({
        "id": format!("mtr_{event_name}"), "object": "billing.meter", "event_name": event_name, "status": "active",
        "event_time_window": null, "default_aggregation": {"formula": "sum"}, "value_settings": {"event_payload_key": "value"},
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"}
    })
}

impl Stub {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self { url: format!("http://{}", listener.local_addr().unwrap()), account: Arc::default() };
        stub.with(|account| account.meters = ["calls", "tokens"].map(meter).into());
        let serving = stub.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stub = serving.clone();
                let service = service_fn(move |request| {
                    let stub = stub.clone();
                    async move { stub.serve(request).await }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        stub
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut Account) -> T) -> T {
        act(&mut self.account.lock().unwrap())
    }

    pub fn set_clock(&self, clock: &Clock) {
        self.with(|account| account.clock = Some(clock.clone()));
    }

    /// Lets further events fail as the function says.
    pub fn fail(&self, plan: impl FnMut(&Event) -> Option<Fault> + Send + 'static) {
        self.with(|account| account.plan = Some(Box::new(plan)));
    }

    /// Lets the next events fail, one after the other.
    pub fn fail_next(&self, faults: &[Fault]) {
        let mut faults = Vec::from(faults).into_iter();
        self.fail(move |_| faults.next());
    }

    pub fn recover(&self) {
        self.with(|account| account.plan = None);
    }

    /// Holds the next event.
    pub fn hold_next(&self) -> Gate {
        let gate = Gate::closed();
        self.with(|account| account.gate = Some(gate.clone()));
        gate
    }

    /// Events that were sent since the last call of this, counted or not.
    pub fn take_sent(&self) -> Vec<Event> {
        self.with(|account| std::mem::take(&mut account.sent))
    }

    /// Number of summaries that were asked for.
    pub fn summaries(&self) -> usize {
        self.with(|account| account.summaries)
    }

    /// What was counted of a customer, by all meters.
    pub fn total(&self, customer: &str) -> i64 {
        self.with(|account| account.counted.iter().filter(|event| event.customer() == customer).map(Event::value).sum())
    }

    async fn serve(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let pairs = |bytes: &[u8]| form_urlencoded::parse(bytes).into_owned().collect::<BTreeMap<String, String>>();
        let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let path: Vec<&str> = parts.uri.path().trim_start_matches("/v1/billing/").split('/').collect();
        let answer = match (parts.method.as_str(), path.as_slice()) {
            ("POST", ["meter_events"]) => {
                let event = Event { form: pairs(&body), key: header("idempotency-key"), authorization: header("authorization") };
                if let Some(gate) = self.with(|account| account.gate.take()) {
                    gate.pass().await;
                }
                self.with(|account| account.receive(event))
            }
            ("GET", ["meters"]) => Some(self.with(|account| account.list(&query))),
            ("GET", ["meters", id, "event_summaries"]) => Some(self.with(|account| account.summarize(id, &query))),
            other => panic!("{other:?}"),
        };
        let (status, body) = answer.ok_or_else(|| std::io::Error::other("cut"))?;
        let response = Response::builder().status(StatusCode::from_u16(status).unwrap()).header("content-type", "application/json");
        Ok(response.body(Full::from(body.to_string())).unwrap())
    }
}

pub fn error(status: u16, code: Option<&str>, param: Option<&str>, message: &str) -> Answer {
    (status, json!({"error": {"type": "invalid_request_error", "code": code, "param": param, "message": message}}))
}

impl Account {
    fn now(&self) -> DateTime<Utc> {
        self.clock.as_ref().unwrap().now()
    }

    /// `None` is no answer.
    fn receive(&mut self, event: Event) -> Option<Answer> {
        self.sent.push(event.clone());
        let fault = self.plan.as_mut().and_then(|plan| plan(&event));
        let failure = |status| (status, json!({"error": {"type": "api_error", "message": "words about ada@example.test"}}));
        let (answer, is_heard) = match fault {
            Some(Fault::CutBefore) => return None,
            Some(Fault::Status(status)) => (failure(status), true),
            Some(Fault::Refuse) => (error(400, Some("parameter_invalid"), Some("payload"), "No, said to ada@example.test"), true),
            Some(Fault::DuplicateByCode) => (error(400, Some("duplicate_meter_event"), None, "Again"), true),
            Some(Fault::CutAfter) => (self.count(&event), false),
            Some(Fault::CountedThen(status)) => {
                self.count(&event);
                (failure(status), true)
            }
            None => match self.answers.get(&event.key).filter(|(at, _)| self.now() - *at < MEMORY) {
                Some((_, answer)) => (answer.clone(), true),
                None => (self.count(&event), true),
            },
        };
        // What parameters are refused for is not remembered.
        if answer.0 != 400 {
            self.answers.insert(event.key, (self.now(), answer.clone()));
        }
        is_heard.then_some(answer)
    }

    fn count(&mut self, event: &Event) -> Answer {
        let (now, identifier) = (self.now(), event.field("identifier").to_owned());
        if self.gone.contains(event.customer()) {
            return error(400, Some("resource_missing"), Some("payload[stripe_customer_id]"), "No such customer");
        }
        if event.at() < now - TimeDelta::days(35) || event.at() > now + TimeDelta::minutes(5) {
            return error(400, None, Some("timestamp"), "Too early or too late");
        }
        if self.known.get(&identifier).is_some_and(|at| now - *at < MEMORY) {
            return error(400, None, None, &format!("An event already exists with identifier {identifier}."));
        }
        self.known.insert(identifier, now);
        self.counted.push(event.clone());
        (200, json!({"object": "billing.meter_event", "identifier": event.field("identifier")}))
    }

    /// Two meters a page.
    fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        let after = query.get("starting_after").and_then(|id| self.meters.iter().position(|meter| meter["id"] == id.as_str()));
        let rest = &self.meters[after.map_or(0, |index| index + 1)..];
        (200, json!({"object": "list", "data": rest[..rest.len().min(2)], "has_more": rest.len() > 2}))
    }

    fn summarize(&mut self, id: &str, query: &BTreeMap<String, String>) -> Answer {
        self.summaries += 1;
        if self.blind {
            return (500, json!({}));
        }
        let time = |name: &str| {
            let time: i64 = query[name].parse().unwrap();
            assert_eq!(time % 60, 0, "whole minutes");
            DateTime::from_timestamp(time, 0).unwrap()
        };
        let (customer, start, end) = (&query["customer"], time("start_time"), time("end_time"));
        if self.gone.contains(customer) {
            return error(400, Some("resource_missing"), Some("customer"), "No such customer");
        }
        let counted = self.counted.iter().filter(|event| format!("mtr_{}", event.field("event_name")) == id && event.customer() == *customer);
        let sum: i64 = counted.filter(|event| (start..end).contains(&event.at())).map(Event::value).sum();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let summary = json!({"aggregated_value": sum as f64, "meter": id});
        (200, json!({"object": "list", "data": [summary], "has_more": false}))
    }
}
