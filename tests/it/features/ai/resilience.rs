//! Cool-down after a 429, circuit breaker, and fall-back to another provider.

use serde_json::{Value, json};

use super::stub::{Script, Stub};
use super::vendors::{VENDORS, Vendor};
use super::{IMPATIENT, broken_by, chat, gateway, metrics, reason, soon, stream, sum, texts};
use crate::harness::{Client, Reply, TestApp, eventually};
use Vendor::{Anthropic, Gemini, OpenAi};

fn too_many(pause: &str) -> Script {
    Script::answer_with(429, &[("retry-after", pause), ("content-type", "application/json")], "{}")
}

async fn chat_with(client: &Client, model: &str) -> Reply {
    client.post("/app/ai/chat", json!({"prompt": "x", "model": model})).await
}

async fn breaker(t: &TestApp, vendor: Vendor) -> u64 {
    sum(&metrics(t).await, "external_service_breaker_state", &[("service", vendor.name())])
}

/// Requests at once whose answers are all read.
async fn at_once(client: &Client, n: usize) -> Vec<Reply> {
    let calls: Vec<_> = (0..n)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { chat(&client, "x").await })
        })
        .collect();
    let mut replies = Vec::new();
    for call in calls {
        replies.push(call.await.unwrap());
    }
    replies
}

#[tokio::test]
async fn too_many_requests_cool_provider_and_model() {
    for vendor in VENDORS {
        let stub = Stub::start(too_many("50"));
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        assert_eq!(reason(chat(&amy, "x").await, vendor), "quota");
        assert_eq!(stub.calls(), 1);
        stub.answer_by(move |asked| vendor.either(asked.is_streamed(), "Hi"));
        // The same model is not called again, by streams neither; the caller is told how long.
        for reply in [chat(&amy, "x").await, stream(&amy, "x").await] {
            let pause: u64 = reply.header("retry-after").unwrap_or_else(|| panic!("{}", reply.text())).parse().unwrap();
            assert!((45..=50).contains(&pause), "{pause}");
            assert_eq!(reason(reply, vendor), "quota");
        }
        assert_eq!(stub.calls(), 1, "{vendor:?}");
        // Another model of the vendor is, and the breaker is closed.
        chat_with(&amy, "another-model").await.expect(200);
        assert_eq!((stub.calls(), breaker(&t, vendor).await), (2, 0));
    }
}

#[tokio::test]
async fn cool_down_lasts_at_most_a_minute() {
    let stub = Stub::start(too_many("3000"));
    let t = gateway(&stub, &[OpenAi], &[]).await;
    let amy = t.user("amy").await;
    chat(&amy, "x").await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    let pause: u64 = chat(&amy, "x").await.header("retry-after").unwrap().parse().unwrap();
    assert!((55..=60).contains(&pause), "{pause}");
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn cool_down_ends_after_retry_after() {
    let stub = Stub::start(too_many("2"));
    let t = gateway(&stub, &[OpenAi], &IMPATIENT).await;
    let amy = t.user("amy").await;
    assert_eq!(reason(chat(&amy, "x").await, OpenAi), "quota");
    stub.answer(OpenAi.answer("Hi"));
    eventually("the model is called again", async || chat(&amy, "x").await.status == 200).await;
    let asked = stub.asked();
    assert!(asked[1].at - asked[0].at >= std::time::Duration::from_millis(1900), "{:?}", asked[1].at - asked[0].at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaker_opens_after_five_failed_requests() {
    for vendor in VENDORS {
        let stub = Stub::start(vendor.fails(500, "api_error", "x"));
        let t = gateway(&stub, &[vendor, if vendor == OpenAi { Gemini } else { OpenAi }], &[]).await;
        let amy = t.user("amy").await;
        assert_eq!(breaker(&t, vendor).await, 0);
        for reply in at_once(&amy, 4).await {
            assert_eq!(reason(reply, vendor), "unavailable");
        }
        assert_eq!((stub.calls(), breaker(&t, vendor).await), (12, 0), "a request with its retries counts once");
        assert_eq!(reason(chat(&amy, "x").await, vendor), "unavailable");
        assert_eq!((stub.calls(), breaker(&t, vendor).await), (15, 2));
        for reply in [chat(&amy, "x").await, stream(&amy, "x").await] {
            let pause: u64 = reply.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=30).contains(&pause), "{pause}");
            reply.expect_error(503, "SERVICE_UNAVAILABLE");
        }
        assert_eq!(stub.calls(), 15);
        // Another vendor is not concerned.
        stub.answer_by(|asked| Vendor::of_path(&asked.path).answer("Hi"));
        let route = [("AI_ROUTE_SIMPLE", "gemini:gemini-3.5-flash-lite")];
        let t = gateway(&stub, &[Gemini], &route).await;
        chat(&t.user("amy").await, "x").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaker_counts_timeouts_and_connection_errors() {
    for script in [Script::hang(), Script::cut()] {
        let stub = Stub::start(script);
        let t = gateway(&stub, &[OpenAi], &IMPATIENT).await;
        let amy = t.user("amy").await;
        for reply in at_once(&amy, 5).await {
            reply.expect_error(502, "EXTERNAL_SERVICE_ERROR");
        }
        assert_eq!(breaker(&t, OpenAi).await, 2);
        chat(&amy, "x").await.expect_error(503, "SERVICE_UNAVAILABLE");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaker_counts_failures_inside_streams() {
    for (what, rest) in [("overloaded", Anthropic.overloaded()), ("cut", String::new())] {
        let text = Anthropic.opening() + &Anthropic.piece("Hi") + &rest;
        let stub = Stub::start(Script::stream().piece(text));
        let t = gateway(&stub, &[Anthropic], &[]).await;
        let amy = t.user("amy").await;
        for _ in 0..5 {
            assert_eq!(broken_by(stream(&amy, "x").await, Anthropic).0, ["Hi"], "{what}");
        }
        eventually("the breaker opens", async || breaker(&t, Anthropic).await == 2).await;
        stream(&amy, "x").await.expect_error(503, "SERVICE_UNAVAILABLE");
        assert_eq!(stub.calls(), 5, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaker_ignores_refusals_and_departed_callers() {
    let stub = Stub::start(OpenAi.fails(400, "invalid_value", "x"));
    let t = gateway(&stub, &[OpenAi], &[("AI_TIMEOUT_SECONDS", "30")]).await;
    let amy = t.user("amy").await;
    for status in [400, 401, 403, 404, 413] {
        stub.answer(OpenAi.fails(status, "x", "x"));
        for reply in at_once(&amy, 3).await {
            reply.expect_error(502, "EXTERNAL_SERVICE_ERROR");
        }
    }
    // Callers that leave while the vendor is silent.
    let before = stub.calls();
    stub.answer(Script::hang());
    for streamed in [false, true] {
        for _ in 0..6 {
            let body = json!({"prompt": "x", "stream": streamed});
            let amy = amy.clone();
            let asked = stub.calls();
            let call = tokio::spawn(async move { amy.post("/app/ai/chat", body).open().await });
            eventually("the vendor is called", async || stub.calls() > asked).await;
            call.abort();
        }
    }
    assert_eq!(stub.calls(), before + 12);
    stub.answer(OpenAi.answer("Hi"));
    chat(&amy, "x").await.expect(200);
    assert_eq!(breaker(&t, OpenAi).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaker_forgets_failures_after_success() {
    let stub = Stub::start(OpenAi.fails(500, "api_error", "x"));
    let t = gateway(&stub, &[OpenAi], &[]).await;
    let amy = t.user("amy").await;
    for _ in 0..2 {
        stub.answer(OpenAi.fails(500, "api_error", "x"));
        for reply in at_once(&amy, 4).await {
            reply.expect_error(502, "EXTERNAL_SERVICE_ERROR");
        }
        stub.answer(OpenAi.answer("Hi"));
        chat(&amy, "x").await.expect(200);
    }
    assert_eq!(breaker(&t, OpenAi).await, 0);
}

/// A stub whose one vendor fails, while the others answer.
fn failing(vendor: Vendor, failure: Script) -> Stub {
    Stub::by(move |asked| {
        let called = Vendor::of_path(&asked.path);
        if called == vendor { failure.clone() } else { called.either(asked.is_streamed(), called.name()) }
    })
}

fn called(stub: &Stub, vendor: Vendor) -> usize {
    stub.asked().iter().filter(|asked| Vendor::of_path(&asked.path) == vendor).count()
}

#[tokio::test]
async fn fallback_answers_only_where_it_is_listed() {
    let failure = OpenAi.fails(500, "api_error", "x");
    let stub = failing(OpenAi, failure);
    let t = gateway(&stub, &VENDORS, &[]).await;
    let amy = t.user("amy").await;
    assert_eq!(reason(chat(&amy, "x").await, OpenAi), "unavailable");
    assert_eq!(reason(stream(&amy, "x").await, OpenAi), "unavailable");
    assert_eq!((called(&stub, Anthropic), called(&stub, Gemini)), (0, 0));

    let t = gateway(&stub, &VENDORS, &[("AI_FALLBACK", "gemini, anthropic")]).await;
    let amy = t.user("amy").await;
    let answer = chat(&amy, "x").await.expect(200);
    let expected: Value = json!({"provider": "gemini", "content": "gemini", "model": "gemini-3.5-flash-lite"});
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&answer[member], value, "{answer}");
    }
    assert_eq!(texts(stream(&amy, "x").await), ["gemini"]);
    assert_eq!(called(&stub, Anthropic), 0);

    // A provider in the list that has no key is passed over.
    let t = gateway(&stub, &[OpenAi, Anthropic], &[("AI_FALLBACK", "gemini,anthropic")]).await;
    assert_eq!(chat(&t.user("amy").await, "x").await.expect(200)["provider"], "anthropic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fallback_answers_for_open_breaker_and_cool_down() {
    let stub = failing(OpenAi, OpenAi.fails(500, "api_error", "x"));
    let t = gateway(&stub, &[OpenAi, Anthropic], &[("AI_FALLBACK", "anthropic")]).await;
    let amy = t.user("amy").await;
    for reply in at_once(&amy, 6).await {
        assert_eq!(reply.expect(200)["provider"], "anthropic");
    }
    assert_eq!(breaker(&t, OpenAi).await, 2);
    let before = called(&stub, OpenAi);
    assert_eq!(chat(&amy, "x").await.expect(200)["provider"], "anthropic");
    assert_eq!(called(&stub, OpenAi), before);

    let stub = failing(OpenAi, too_many("50"));
    let t = gateway(&stub, &[OpenAi, Anthropic], &[("AI_FALLBACK", "anthropic")]).await;
    let amy = t.user("amy").await;
    for _ in 0..2 {
        assert_eq!(chat(&amy, "x").await.expect(200)["provider"], "anthropic");
    }
    assert_eq!(called(&stub, OpenAi), 1);
}

#[tokio::test]
async fn fallback_is_not_used_after_first_piece() {
    let begun = Script::stream().piece(OpenAi.opening() + &OpenAi.piece("Hi"));
    let stub = failing(OpenAi, begun);
    let t = gateway(&stub, &VENDORS, &[("AI_FALLBACK", "anthropic")]).await;
    let reply = soon("stream", stream(&t.user("amy").await, "x")).await;
    assert_eq!(broken_by(reply, OpenAi), (vec!["Hi".to_owned()], "unavailable".to_owned()));
    assert_eq!((called(&stub, OpenAi), called(&stub, Anthropic)), (1, 0));
}
