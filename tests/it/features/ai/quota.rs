//! Monthly quota of AI requests: reserved before the call, given back only if the vendor produced nothing.

use chrono::{Datelike, Utc};
use omnistack::platform::usage::Metric;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::stub::{Script, Step, Stub};
use super::vendors::{VENDORS, Vendor};
use super::{IMPATIENT, broken_by, chat, gateway_on, stream, texts};
use crate::harness::{Backend, Client, Reply, TestApp, eventually};
use Vendor::OpenAi;

const LIMITED: (&str, &str) = ("PLAN_LIMITS_ENABLED", "true");

crate::on_both_backends![
    fifty_first_request_of_a_month_is_refused,
    parallel_requests_cannot_pass_the_quota,
    failure_of_the_vendor_is_given_back,
    refused_request_uses_no_quota,
    departed_client_is_not_given_its_request_back,
    quota_follows_the_plan,
    usage_counts_what_the_quota_counts,
];

async fn limited(b: Backend, stub: &Stub, vars: &[(&str, &str)]) -> TestApp {
    let vars: Vec<_> = [LIMITED].iter().chain(vars).copied().collect();
    gateway_on(b, stub, &[OpenAi], &vars).await
}

/// A stub that answers as it is asked, streamed or not.
fn willing() -> Stub {
    Stub::by(|asked| OpenAi.either(asked.is_streamed(), "Hi"))
}

fn remaining(reply: &Reply) -> i64 {
    reply.header("x-quota-remaining").unwrap_or_else(|| panic!("{:?} {}", reply.headers, reply.text())).parse().unwrap()
}

/// Uses up all requests but `left` of a free user.
async fn use_up(amy: &Client, left: usize) {
    let mut running = JoinSet::new();
    for _ in left..50 {
        let amy = amy.clone();
        running.spawn(async move { chat(&amy, "x").await.expect(200) });
    }
    running.join_all().await;
}

/// The first instant of the next month.
fn next_month(t: &TestApp) -> chrono::DateTime<Utc> {
    let now = t.clock.now();
    let (year, month) = if now.month() == 12 { (now.year() + 1, 1) } else { (now.year(), now.month() + 1) };
    chrono::NaiveDate::from_ymd_opt(year, month, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc()
}

async fn fifty_first_request_of_a_month_is_refused(b: Backend) {
    let stub = willing();
    let t = limited(b, &stub, &[]).await;
    let amy = t.user("amy").await;
    let reply = chat(&amy, "x").await;
    assert_eq!((reply.header("x-quota-limit"), remaining(&reply)), (Some("50"), 49));
    let reset = reply.header("x-quota-reset").unwrap().to_owned();
    let resets_at = next_month(&t);
    assert!(reset == resets_at.timestamp().to_string() || reset.parse::<chrono::DateTime<Utc>>().is_ok_and(|at| at == resets_at), "{reset}");
    // All three endpoints, and streams, share the quota.
    let reply = stream(&amy, "x").await;
    assert_eq!(remaining(&reply), 48);
    assert_eq!(texts(reply), ["Hi"]);
    let reply = amy.post("/app/ai/completions", json!({"messages": [{"role": "user", "content": "x"}]})).await;
    assert_eq!(remaining(&reply), 47);
    let reply = amy.post("/app/ai/chat/routed", json!({"prompt": "x"})).await;
    assert_eq!(remaining(&reply), 46);
    for _ in 0..45 {
        chat(&amy, "x").await.expect(200);
    }
    assert_eq!(remaining(&chat(&amy, "x").await), 0);
    assert_eq!(stub.calls(), 50);
    for path in ["/app/ai/chat", "/app/ai/chat/routed", "/app/ai/completions"] {
        for streamed in [false, true] {
            let body = json!({"prompt": "x", "messages": [{"role": "user", "content": "x"}], "stream": streamed});
            let reply = amy.post(path, body).await;
            assert_eq!((reply.header("x-quota-limit"), remaining(&reply)), (Some("50"), 0), "{path}");
            let details = reply.expect_error(403, "PLAN_LIMIT_EXCEEDED");
            assert_eq!((&details["limit"], &details["used"], &details["feature"]), (&json!(50), &json!(50), &json!("ai_requests")));
            let at: chrono::DateTime<Utc> = details["resets_at"].as_str().unwrap().parse().unwrap();
            assert_eq!(at, resets_at);
        }
    }
    assert_eq!(stub.calls(), 50, "a refused request calls no vendor");
    // Another user has a quota of their own, and a new month begins anew.
    assert_eq!(remaining(&chat(&t.user("bob").await, "x").await), 49);
    t.clock.advance(resets_at - t.clock.now());
    let amy = t.user("amy").await;
    assert_eq!(remaining(&chat(&amy, "x").await), 49);
}

async fn parallel_requests_cannot_pass_the_quota(b: Backend) {
    let stub = willing();
    let t = limited(b, &stub, &[]).await;
    // Users whom the service sees for the first time.
    let token = crate::harness::tokens::claims("new", &t.clock).sign(crate::harness::SECRET);
    let new = t.with_token(&token);
    let mut running = JoinSet::new();
    for n in 0..70 {
        let new = new.clone();
        running.spawn(async move { if n % 2 == 0 { chat(&new, "x").await } else { stream(&new, "x").await } });
    }
    let replies = running.join_all().await;
    let of = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((of(200), of(403)), (50, 20));
    assert_eq!(stub.calls(), 50);
}

async fn failure_of_the_vendor_is_given_back(b: Backend) {
    let stub = willing();
    let t = limited(b, &stub, &IMPATIENT).await;
    let amy = t.user("amy").await;
    assert_eq!(remaining(&chat(&amy, "x").await), 49);
    let failures = [
        OpenAi.fails(500, "api_error", "x"),
        OpenAi.fails(400, "invalid_value", "x"),
        Script::cut(),
        Script::hang(),
        Script::answer(200, "text/html", "<html>"),
    ];
    for failure in failures {
        stub.answer(failure);
        chat(&amy, "x").await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    }
    stub.answer(OpenAi.answer("Hi"));
    assert_eq!(remaining(&chat(&amy, "x").await), 48);
    stub.answer(Script::stream().piece(OpenAi.opening()).then(Step::Close));
    stream(&amy, "x").await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    stub.answer(OpenAi.answer("Hi"));
    assert_eq!(remaining(&chat(&amy, "x").await), 47);
    // After the first piece it counts.
    stub.answer(Script::stream().piece(OpenAi.opening() + &OpenAi.piece("Hi")).then(Step::Close));
    broken_by(stream(&amy, "x").await, OpenAi);
    stub.answer(OpenAi.answer("Hi"));
    assert_eq!(remaining(&chat(&amy, "x").await), 45);
}

async fn refused_request_uses_no_quota(b: Backend) {
    let stub = willing();
    let t = limited(b, &stub, &[]).await;
    let amy = t.user("amy").await;
    for body in [json!({}), json!({"prompt": ""}), json!({"prompt": "x", "temperature": 9})] {
        amy.post("/app/ai/chat", body).await.expect_invalid();
    }
    amy.get("/app/ai/status").await.expect(200);
    assert_eq!(remaining(&chat(&amy, "x").await), 49);
    // Without a provider the answer is 503 before the quota is looked at.
    let none = t.second(&[LIMITED]).await;
    use_up(&amy, 1).await;
    chat(&none.with_token(amy.token.as_ref().unwrap()), "x").await.expect_error(503, "SERVICE_UNAVAILABLE");
    chat(&amy, "x").await.expect_error(403, "PLAN_LIMIT_EXCEEDED");
}

async fn departed_client_is_not_given_its_request_back(b: Backend) {
    let stub = Stub::start(Script::hang());
    let t = limited(b, &stub, &[("AI_TIMEOUT_SECONDS", "2")]).await;
    let amy = t.user("amy").await;
    for (n, streamed) in [(1, false), (2, true)] {
        let body: Value = json!({"prompt": "x", "stream": streamed});
        let client = amy.clone();
        let call = tokio::spawn(async move { client.post("/app/ai/chat", body).open().await });
        eventually("the vendor is called", async || stub.calls() >= n).await;
        call.abort();
        let _ = call.await;
    }
    eventually("the vendor is left", async || stub.asked().iter().all(|asked| asked.closed.is_some())).await;
    stub.answer(OpenAi.answer("Hi"));
    assert_eq!((remaining(&chat(&amy, "x").await), stub.calls()), (47, 3));
}

async fn quota_follows_the_plan(b: Backend) {
    let stub = willing();
    let t = limited(b, &stub, &[]).await;
    for (name, plan, status, limit) in [
        ("pro", "pro", "active", "2000"),
        ("trial", "pro", "trialing", "2000"),
        ("late", "pro", "past_due", "50"),
        ("unknown", "gold", "active", "50"),
        ("big", "enterprise", "active", "-1"),
    ] {
        let user = t.user(name).await;
        t.sql(&format!("UPDATE users SET subscription_plan = '{plan}', subscription_status = '{status}' WHERE id = '{name}'")).await;
        t.forget_identity(name);
        let reply = chat(&user, "x").await;
        assert_eq!(reply.header("x-quota-limit"), Some(limit), "{name}: {:?}", reply.headers);
        reply.expect(200);
    }
}

#[tokio::test]
async fn without_plan_limits_nothing_is_refused() {
    for vendor in VENDORS {
        let stub = Stub::start(vendor.answer("Hi"));
        let t = super::gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        for _ in 0..52 {
            let reply = chat(&amy, "x").await;
            assert_eq!(reply.header("x-quota-limit"), None);
            reply.expect(200);
        }
    }
}

async fn usage_counts_what_the_quota_counts(b: Backend) {
    let stub = Stub::by(|asked| match asked.prompt() {
        "fail" => OpenAi.fails(400, "invalid_request_error", "no"),
        _ => OpenAi.either(asked.is_streamed(), "Hi"),
    });
    // The test itself listens to what is used.
    let t = limited(b, &stub, &[("USAGE_TRACKING_ENABLED", "false")]).await;
    let mut events = t.app.usage.listen(1000).unwrap();
    let amy = t.user("amy").await;
    for (prompt, status) in [("x", 200), ("fail", 502)] {
        chat(&amy, prompt).await.expect_text(status);
        stream(&amy, prompt).await.expect_text(status);
    }
    let (mut requests, mut tokens) = (0, 0);
    eventually("the stream is counted", async || t.number("SELECT used FROM quota_counters").await == 2).await;
    while let Ok(event) = events.try_recv() {
        match event.metric {
            Metric::AiRequests => requests += event.quantity,
            Metric::AiTokens => tokens += event.quantity,
            _ => continue,
        }
        assert_eq!((event.user.as_str(), event.labels[0].as_str()), ("amy", "provider:openai"));
    }
    assert_eq!(requests, 2);
    assert!(tokens > 0);
}
