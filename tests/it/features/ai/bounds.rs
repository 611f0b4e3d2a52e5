//! Bounds of the three AI endpoints, the order of their checks, and the shape of a completion.

use http::Method;
use serde_json::{Value, json};

use super::stub::{Script, Stub};
use super::vendors::{VENDORS, Vendor};
use super::{chat, gateway};
use crate::harness::{Backend, Client, TestApp};

const PATHS: [&str; 3] = ["/app/ai/completions", "/app/ai/chat", "/app/ai/chat/routed"];

/// A valid body of the endpoint.
fn body(path: &str) -> Value {
    if path.ends_with("completions") {
        json!({"messages": [{"role": "user", "content": "Hello"}]})
    } else {
        json!({"prompt": "Hello"})
    }
}

fn with(path: &str, member: &str, value: Value) -> Value {
    let mut body = body(path);
    body[member] = value;
    body
}

async fn server() -> (Stub, TestApp, Client) {
    let stub = Stub::start(Vendor::OpenAi.answer("Hi"));
    let t = gateway(&stub, &[Vendor::OpenAi], &[]).await;
    let amy = t.user("amy").await;
    (stub, t, amy)
}

#[tokio::test]
async fn completion_has_every_member_of_each_endpoint() {
    for vendor in VENDORS {
        let stub = Stub::start(vendor.answer("Hi there"));
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        for path in &PATHS[..2] {
            let reply = amy.post(path, body(path)).await;
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            let answer = reply.expect(200);
            let mut members: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
            members.sort_unstable();
            assert_eq!(members, ["content", "finish_reason", "latency_ms", "model", "provider", "usage"], "{answer}");
            assert_eq!((&answer["content"], &answer["provider"]), (&json!("Hi there"), &json!(vendor.name())));
            assert_eq!(answer["model"], vendor.default_model());
            assert_eq!(answer["usage"], json!({"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46}), "{answer}");
            assert_eq!(answer["finish_reason"], vendor.stop().to_lowercase());
            assert!(answer["latency_ms"].is_number(), "{answer}");
        }
    }
}

#[tokio::test]
async fn latency_is_time_of_upstream_call() {
    let stub = Stub::start(Script(vec![]));
    let t = gateway(&stub, &[Vendor::OpenAi], &[]).await;
    let amy = t.user("amy").await;
    let mut slow = Vendor::OpenAi.answer("Hi");
    slow.0.insert(0, super::stub::Step::Pause(std::time::Duration::from_millis(150)));
    stub.answer(slow);
    let latency = chat(&amy, "Hello").await.expect(200)["latency_ms"].as_f64().unwrap();
    assert!((150.0..2000.0).contains(&latency), "{latency}");
}

#[tokio::test]
async fn values_outside_bounds_are_refused() {
    let (stub, _t, amy) = server().await;
    for path in PATHS {
        for (member, values) in [
            ("temperature", vec![json!(-0.1), json!(2.1), json!("hot")]),
            ("max_tokens", vec![json!(0), json!(-1), json!(128_001), json!(1.5), json!("many")]),
        ] {
            for value in values {
                assert_eq!(amy.post(path, with(path, member, value.clone())).await.expect_invalid(), [member], "{path} {member} {value}");
            }
        }
    }
    for path in &PATHS[..2] {
        assert_eq!(amy.post(path, with(path, "stream", json!("yes"))).await.expect_invalid(), ["stream"]);
        assert_eq!(amy.post(path, with(path, "model", json!(7))).await.expect_invalid(), ["model"]);
    }
    for path in &PATHS[1..] {
        for prompt in [json!(""), json!(null), json!(["x"]), json!("a\u{0}b")] {
            assert_eq!(amy.post(path, with(path, "prompt", prompt)).await.expect_invalid(), ["prompt"], "{path}");
        }
        assert_eq!(amy.post(path, json!({})).await.expect_invalid(), ["prompt"]);
        assert_eq!(amy.post(path, with(path, "system", json!(1))).await.expect_invalid(), ["system"]);
    }
    for (messages, field) in [
        (json!([]), "messages"),
        (json!(null), "messages"),
        (json!("Hello"), "messages"),
        (json!([{"role": "tool", "content": "x"}]), "messages.0.role"),
        (json!([{"role": "user", "content": "x"}, {"role": "Assistant", "content": "x"}]), "messages.1.role"),
        (json!([{"role": "user"}]), "messages.0.content"),
        (json!([{"role": "user", "content": 1}]), "messages.0.content"),
        (json!([{"content": "x"}]), "messages.0.role"),
    ] {
        assert_eq!(amy.post(PATHS[0], json!({"messages": messages})).await.expect_invalid(), [field], "{messages}");
    }
    assert_eq!(amy.post(PATHS[2], with(PATHS[2], "complexity", json!("hard"))).await.expect_invalid(), ["complexity"]);
    assert_eq!(stub.calls(), 0);
}

#[tokio::test]
async fn values_at_bounds_are_accepted() {
    let (stub, _t, amy) = server().await;
    for path in PATHS {
        for (member, value) in [
            ("temperature", json!(0)),
            ("temperature", json!(2.0)),
            ("max_tokens", json!(1)),
            ("max_tokens", json!(128_000)),
            ("unknown", json!({"is": "ignored"})),
        ] {
            amy.post(path, with(path, member, value)).await.expect(200);
        }
    }
    for path in &PATHS[..2] {
        amy.post(path, with(path, "model", json!(null))).await.expect(200);
        amy.post(path, with(path, "stream", json!(false))).await.expect(200);
    }
    for path in &PATHS[1..] {
        amy.post(path, with(path, "system", json!(null))).await.expect(200);
    }
    assert_eq!(stub.calls(), 3 * 5 + 4 + 2);
}

#[tokio::test]
async fn routed_chat_has_neither_model_nor_stream() {
    let (stub, _t, amy) = server().await;
    let asked = json!({"prompt": "Hello", "model": "gpt-4o", "stream": true, "complexity": "simple"});
    assert_eq!(amy.post(PATHS[2], asked).await.expect(200)["content"], "Hi");
    assert_eq!(stub.only().body["model"], "gpt-6-luna");
    assert_ne!(stub.only().body["stream"], true);
}

#[tokio::test]
async fn checks_come_in_order_of_contract() {
    let stub = Stub::start(Script::hang());
    let t = gateway(&stub, &[], &[]).await;
    let amy = t.user("amy").await;
    for path in PATHS {
        t.anonymous().post(path, json!({})).await.expect_error(401, "AUTHENTICATION_ERROR");
        t.anonymous().get(path).await.expect_error(405, "METHOD_NOT_ALLOWED");
        amy.call(Method::POST, path).body("text/plain", "{}").await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
        amy.call(Method::POST, path).body("application/json", "{").await.expect_error(400, "BAD_REQUEST");
        amy.call(Method::POST, path).body("application/json", vec![b' '; 1_100_000]).await.expect_error(413, "PAYLOAD_TOO_LARGE");
        // The body is validated before the service says that it is not configured.
        amy.post(path, with(path, "temperature", json!(9))).await.expect_invalid();
        amy.post(path, body(path)).await.expect_error(503, "SERVICE_UNAVAILABLE");
    }
    t.anonymous().get("/app/ai/status").await.expect_error(401, "AUTHENTICATION_ERROR");
    let page = super::metrics(&t).await;
    assert_eq!(super::sum(&page, "llm_requests_total", &[]), 0, "a request without a vendor is none of an LLM");
}

#[tokio::test]
async fn unconfigured_stream_is_refused_with_envelope() {
    let stub = Stub::start(Script::hang());
    let t = gateway(&stub, &[], &[]).await;
    let amy = t.user("amy").await;
    for path in &PATHS[..2] {
        amy.post(path, with(path, "stream", json!(true))).await.expect_error(503, "SERVICE_UNAVAILABLE");
    }
}

#[tokio::test]
async fn ai_rate_limit_is_a_budget_of_its_own() {
    let stub = Stub::start(Vendor::OpenAi.answer("Hi"));
    let t = gateway(&stub, &[Vendor::OpenAi], &[("RATE_LIMIT_AI", "3/minute")]).await;
    let amy = t.user("amy").await;
    for path in PATHS {
        let reply = amy.post(path, body(path)).await;
        assert_eq!(reply.header("x-ratelimit-limit"), Some("3"), "{path}");
        reply.expect(200);
    }
    let refused = amy.post(PATHS[1], body(PATHS[1])).await;
    assert!(refused.header("retry-after").is_some());
    refused.expect_error(429, "RATE_LIMIT_EXCEEDED");
    amy.get("/app/users/me").await.expect(200);
    assert_eq!(stub.calls(), 3);
    // The default of the budget.
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_AI", "")]).await;
    let amy = t.user("amy").await;
    assert_eq!(amy.get("/app/ai/status").await.header("x-ratelimit-limit"), Some("10"));
}
