//! The AI gateway through HTTP, against stub servers of its vendors. Every file in this folder becomes a module
//! automatically.

automod::dir!("tests/it/features/ai");

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Backend, Client, Reply, TestApp};
use stub::Stub;
use vendors::Vendor;

/// Upper bound of an answer whose time-outs are one second, generous for busy machines.
const SOON: Duration = Duration::from_secs(10);

/// A server whose vendors all have the stub's address. The vendors in the list have keys, and the first one is the default.
async fn gateway(stub: &Stub, vendors: &[Vendor], vars: &[(&str, &str)]) -> TestApp {
    gateway_on(Backend::Sqlite, stub, vendors, vars).await
}

async fn gateway_on(b: Backend, stub: &Stub, vendors: &[Vendor], vars: &[(&str, &str)]) -> TestApp {
    let mut all = vec![("PLAN_LIMITS_ENABLED", "false")];
    all.extend(vendors::VENDORS.iter().map(|vendor| (vendor.url_name(), stub.url.as_str())));
    all.extend(vendors.iter().map(|vendor| (vendor.key_name(), vendor.key())));
    all.extend(vendors.first().map(|vendor| ("AI_DEFAULT_PROVIDER", vendor.name())));
    all.extend(vars);
    TestApp::with(b, &all).await
}

/// Time-outs of one second.
const IMPATIENT: [(&str, &str); 2] = [("AI_TIMEOUT_SECONDS", "1"), ("AI_FIRST_TOKEN_SECONDS", "1")];

async fn chat(client: &Client, prompt: &str) -> Reply {
    client.post("/app/ai/chat", json!({"prompt": prompt})).await
}

async fn stream(client: &Client, prompt: &str) -> Reply {
    client.post("/app/ai/chat", json!({"prompt": prompt, "stream": true})).await
}

/// Checks for a 502 of this vendor and returns the reason.
#[track_caller]
fn reason(reply: Reply, vendor: Vendor) -> String {
    let details = reply.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    assert_eq!(details["service"], vendor.name(), "{details}");
    details["reason"].as_str().unwrap_or_else(|| panic!("no reason in {details}")).to_owned()
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    name: Option<String>,
    data: String,
}

impl Event {
    fn text(data: &str) -> Self {
        Self { name: None, data: data.to_owned() }
    }
}

/// The events of an answer, without comments. An event that is not complete fails.
#[track_caller]
fn events(body: &str) -> Vec<Event> {
    let mut events = Vec::new();
    assert!(body.is_empty() || body.ends_with("\n\n"), "the last event is not complete: {body:?}");
    assert!(!body.contains('\r'), "{body:?}");
    for block in body.split_terminator("\n\n") {
        let (mut name, mut data) = (None, Vec::new());
        for line in block.lines() {
            match line.split_once(':').unwrap_or((line, "")) {
                ("data", text) => data.push(text.strip_prefix(' ').unwrap_or(text)),
                ("event", text) => name = Some(text.trim_start().to_owned()),
                ("", _) => {}
                (other, _) => panic!("unknown field {other} in {body:?}"),
            }
        }
        if !data.is_empty() {
            events.push(Event { name, data: data.join("\n") });
        }
    }
    events
}

/// The texts of a stream that ended well.
#[track_caller]
fn texts(reply: Reply) -> Vec<String> {
    let mut events = events(&reply.expect_text(200));
    assert_eq!(events.pop(), Some(Event::text("[DONE]")), "after {events:?}");
    events.into_iter().map(|event| if event.name.is_none() { event.data } else { panic!("{event:?}") }).collect()
}

/// The texts of a stream that broke, and the error that it ended with.
#[track_caller]
fn broken(reply: Reply) -> (Vec<String>, Value) {
    let body = reply.expect_text(200);
    let mut events = events(&body);
    let last = events.pop().unwrap();
    assert_eq!(last.name.as_deref(), Some("error"), "{body}");
    let error: Value = serde_json::from_str(&last.data).unwrap();
    assert!(error["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    let texts = events.into_iter().map(|event| {
        assert!(event.name.is_none() && event.data != "[DONE]", "{body}");
        event.data
    });
    (texts.collect(), error["error"].clone())
}

/// Checks that a stream broke with a failure of this vendor; returns its texts and the reason.
#[track_caller]
fn broken_by(reply: Reply, vendor: Vendor) -> (Vec<String>, String) {
    let (texts, error) = broken(reply);
    assert_eq!((&error["code"], &error["details"]["service"]), (&json!("EXTERNAL_SERVICE_ERROR"), &json!(vendor.name())), "{error}");
    (texts, error["details"]["reason"].as_str().unwrap_or_else(|| panic!("no reason in {error}")).to_owned())
}

/// Waits for an answer that must come soon.
async fn soon<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let answer = tokio::time::timeout(SOON, answer).await;
    answer.unwrap_or_else(|_| panic!("{what}: no answer within {:?}", started.elapsed()))
}

async fn metrics(t: &TestApp) -> String {
    t.anonymous().get("/public/metrics").await.expect_text(200)
}

/// Sum of the samples of a metric that have all these labels.
fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> u64 {
    let fits = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    };
    page.lines().filter(fits).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Tokens that were counted for a vendor: prompt and completion.
async fn tokens(t: &TestApp, vendor: Vendor) -> (u64, u64) {
    let page = metrics(t).await;
    let of = |kind| sum(&page, "llm_tokens_total", &[("provider", vendor.name()), ("type", kind)]);
    (of("prompt"), of("completion"))
}
