//! Vendors that refuse or fail before they answer: the status, the reason, `Retry-After`, and how often they are called.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::stub::{Script, Step, Stub};
use super::vendors::{VENDORS, Vendor};
use super::{IMPATIENT, chat, gateway, reason, soon, stream, texts};
use Vendor::{Anthropic, Gemini, OpenAi};

/// A refusal: status, kind, message, and the reasons that may be told.
type Case = (Vendor, u16, &'static str, &'static str, &'static [&'static str]);

const INVALID: &[&str] = &["invalid_request"];
const LONG: &[&str] = &["context_too_long"];
const MODEL: &[&str] = &["model_not_found"];
const QUOTA: &[&str] = &["quota"];
const UNAVAILABLE: &[&str] = &["unavailable"];

/// Refusals that a repetition does not cure.
const FINAL: [Case; 25] = [
    (OpenAi, 400, "invalid_value", "Invalid value for 'messages'.", INVALID),
    (Anthropic, 400, "invalid_request_error", "messages: roles must alternate", INVALID),
    (Gemini, 400, "INVALID_ARGUMENT", "Invalid value at 'contents'", INVALID),
    (
        OpenAi,
        400,
        "context_length_exceeded",
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 200000 tokens.",
        LONG,
    ),
    (Anthropic, 400, "invalid_request_error", "prompt is too long: 215000 tokens > 200000 maximum", LONG),
    (Gemini, 400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", LONG),
    (OpenAi, 401, "invalid_api_key", "Incorrect API key provided: sk-proj-canary.", UNAVAILABLE),
    (Anthropic, 401, "authentication_error", "invalid x-api-key", UNAVAILABLE),
    (Gemini, 401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", UNAVAILABLE),
    (Gemini, 400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", UNAVAILABLE),
    (OpenAi, 403, "unsupported_country_region_territory", "Country, region, or territory not supported", UNAVAILABLE),
    (Anthropic, 403, "permission_error", "Your API key does not have permission to use the specified resource.", UNAVAILABLE),
    (Gemini, 403, "PERMISSION_DENIED", "Your API key was reported as leaked.", UNAVAILABLE),
    (OpenAi, 404, "model_not_found", "The model `canary` does not exist or you do not have access to it.", MODEL),
    (Anthropic, 404, "not_found_error", "model: canary", MODEL),
    (Gemini, 404, "NOT_FOUND", "models/canary is not found for API version v1beta", MODEL),
    (OpenAi, 413, "request_too_large", "Request too large", &["context_too_long", "invalid_request"]),
    (Anthropic, 413, "request_too_large", "Request exceeds the maximum allowed number of bytes.", &["context_too_long", "invalid_request"]),
    (Gemini, 413, "INVALID_ARGUMENT", "Request too large", &["context_too_long", "invalid_request"]),
    (OpenAi, 429, "insufficient_quota", "You exceeded your current quota, please check your plan and billing details.", QUOTA),
    (Anthropic, 400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", QUOTA),
    (Anthropic, 402, "billing_error", "Your credit balance is too low.", QUOTA),
    (OpenAi, 429, "rate_limit_exceeded", "Rate limit reached for gpt-6-luna", QUOTA),
    (Anthropic, 429, "rate_limit_error", "This request would exceed your account's rate limit.", QUOTA),
    (Gemini, 429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", QUOTA),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_of_vendor_is_502_with_reason() {
    let cases = FINAL.map(|(vendor, status, kind, message, reasons)| {
        async move {
            // The model of every case cools down on its own.
            let stub = Stub::start(vendor.fails(status, kind, message));
            for streamed in [false, true] {
                let t = gateway(&stub, &[vendor], &IMPATIENT).await;
                let amy = t.user("amy").await;
                let reply = if streamed { stream(&amy, "x").await } else { chat(&amy, "x").await };
                assert!(!reply.text().contains("canary") && !reply.text().contains(message), "{message}: {}", reply.text());
                let reason = reason(reply, vendor);
                assert!(reasons.contains(&reason.as_str()), "{vendor:?} {status} {message} is {reason}");
            }
            let repeated = if status == 429 { 6 } else { 2 };
            assert!(stub.calls() <= repeated, "{vendor:?} {status} {message}: {} calls", stub.calls());
        }
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_vendor_is_called_three_times() {
    let cases = VENDORS.into_iter().flat_map(|vendor| [500, 502, 503, 529].map(|status| (vendor, status)));
    let cases = cases.map(|(vendor, status)| {
        async move {
            let stub = Stub::start(vendor.fails(status, "overloaded_error", "canary"));
            let t = gateway(&stub, &[vendor], &[]).await;
            let amy = t.user("amy").await;
            for (streamed, calls) in [(false, 3), (true, 6)] {
                let started = Instant::now();
                let reply = if streamed { stream(&amy, "x").await } else { chat(&amy, "x").await };
                assert!(!reply.text().contains("canary"), "{}", reply.text());
                assert_eq!(reason(reply, vendor), "unavailable", "{vendor:?} {status}");
                assert_eq!(stub.calls(), calls, "{vendor:?} {status}");
                assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
            }
            // The pauses grow: the second one is longer than the shortest first one.
            let asked = stub.asked();
            assert!(asked[1].at - asked[0].at >= Duration::from_millis(20), "{:?}", asked[1].at - asked[0].at);
        }
    });
    join_all(cases).await;
}

#[tokio::test]
async fn vendor_that_recovers_answers_after_retries() {
    for vendor in VENDORS {
        for streamed in [false, true] {
            for failure in [vendor.fails(500, "api_error", "x"), vendor.fails(529, "overloaded_error", "x"), Script::cut()] {
                let stub = Stub::start(Script::hang());
                stub.answers([failure.clone(), failure, vendor.either(streamed, "Hi")]);
                let t = gateway(&stub, &[vendor], &[]).await;
                let amy = t.user("amy").await;
                if streamed {
                    assert_eq!(texts(stream(&amy, "x").await), ["Hi"]);
                } else {
                    assert_eq!(chat(&amy, "x").await.expect(200)["content"], "Hi");
                }
                assert_eq!(stub.calls(), 3);
            }
        }
    }
}

#[tokio::test]
async fn retry_waits_for_retry_after() {
    let refused = Script::answer_with(429, &[("retry-after", "1"), ("content-type", "application/json")], "{}");
    let stub = Stub::start(refused.clone());
    stub.answers([refused, OpenAi.answer("Hi")]);
    let t = gateway(&stub, &[OpenAi], &[]).await;
    assert_eq!(chat(&t.user("amy").await, "x").await.expect(200)["content"], "Hi");
    let asked = stub.asked();
    assert!(asked.len() == 2 && asked[1].at - asked[0].at >= Duration::from_millis(1000));
}

#[tokio::test]
async fn retry_after_of_vendor_is_copied() {
    for vendor in VENDORS {
        for streamed in [false, true] {
            let headers = [("retry-after", "41"), ("content-type", "application/json")];
            let stub = Stub::start(Script::answer_with(429, &headers, vendor.error(429, "rate_limit_error", "x").to_string()));
            let t = gateway(&stub, &[vendor], &[]).await;
            let amy = t.user("amy").await;
            let started = Instant::now();
            let reply = if streamed { stream(&amy, "x").await } else { chat(&amy, "x").await };
            let pause: u64 = reply.header("retry-after").unwrap_or_else(|| panic!("{}", reply.text())).parse().unwrap();
            assert!((39..=41).contains(&pause), "{pause}");
            assert_eq!(reason(reply, vendor), "quota");
            // A pause that is longer than the request may last is left to the caller.
            assert_eq!((stub.calls(), started.elapsed() < Duration::from_secs(2)), (1, true));
        }
    }
}

#[tokio::test]
async fn unreachable_vendor_is_unavailable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let addresses = [format!("http://{closed}"), Stub::start(Script::cut()).url];
    let cases = VENDORS.into_iter().flat_map(|vendor| addresses.iter().map(move |address| (vendor, address)));
    let cases = cases.map(|(vendor, address)| async move {
        let stub = Stub::start(Script::hang());
        let t = gateway(&stub, &[vendor], &[(vendor.url_name(), address)]).await;
        let amy = t.user("amy").await;
        for reply in [soon("chat", chat(&amy, "x")).await, soon("stream", stream(&amy, "x")).await] {
            assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());
            assert_eq!(reason(reply, vendor), "unavailable", "{vendor:?} {address}");
        }
    });
    join_all(cases).await;
}

/// A redirect would carry the key to another address.
#[tokio::test]
async fn redirect_of_vendor_is_not_followed() {
    let other = Stub::start(OpenAi.answer("Hi"));
    for vendor in VENDORS {
        let stub = Stub::start(Script::answer_with(307, &[("location", &other.url)], ""));
        let t = gateway(&stub, &[vendor], &[]).await;
        reason(soon("redirect", chat(&t.user("amy").await, "x")).await, vendor);
    }
    assert_eq!(other.calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_vendor_is_a_timeout() {
    let begun = |vendor: Vendor| {
        let body = vendor.body("Hi", vendor.stop()).to_string();
        Script(Script::json(200, &json!({})).0[..1].to_vec()).piece(body[..20].to_owned())
    };
    let cases = VENDORS.into_iter().flat_map(|vendor| {
        [
            ("before the head", Script::hang()),
            ("inside the head", Script(vec![Step::Raw("HTTP/1.1 200 OK\r\ncontent-ty".into()), Step::Hang])),
            ("after the head", Script(Script::json(200, &json!({})).0[..1].to_vec()).then(Step::Hang)),
            ("inside the body", begun(vendor).then(Step::Hang)),
            ("slow bytes", begun(vendor).then(Step::Forever(" ".into(), Duration::from_millis(50)))),
        ]
        .map(|(what, script)| {
            async move {
                let stub = Stub::start(script);
                let t = gateway(&stub, &[vendor], &IMPATIENT).await;
                let started = Instant::now();
                let reply = soon(what, chat(&t.user("amy").await, "x")).await;
                assert_eq!(reason(reply, vendor), "timeout", "{vendor:?} {what}");
                let took = started.elapsed();
                assert!(took >= Duration::from_millis(950), "{vendor:?} {what}: {took:?}");
                // The vendor is left, so that it stops working.
                let closed = async || stub.asked().iter().all(|asked| asked.closed.is_some());
                crate::harness::eventually("the connection is closed", closed).await;
            }
        })
    });
    join_all(cases).await;
}

/// The retries are inside the time for the whole answer.
#[tokio::test]
async fn retries_end_with_time_of_whole_answer() {
    let slow = Script(vec![Step::Pause(Duration::from_millis(700))]);
    let mut failing = slow.clone();
    failing.0.extend(OpenAi.fails(500, "api_error", "x").0);
    let stub = Stub::start(failing);
    let t = gateway(&stub, &[OpenAi], &IMPATIENT).await;
    let amy = t.user("amy").await;
    let started = Instant::now();
    let reason = reason(soon("answer", chat(&amy, "x")).await, OpenAi);
    assert!(["unavailable", "timeout"].contains(&reason.as_str()), "{reason}");
    assert!(started.elapsed() < Duration::from_millis(2000), "{:?}", started.elapsed());
    assert!(stub.calls() <= 2, "{}", stub.calls());
}

/// The route's own deadline is longer than the vendor's, so that the answer is a 502.
#[tokio::test]
async fn vendor_timeout_above_request_timeout_is_still_502() {
    let stub = Stub::start(Script::hang());
    let vars = [("AI_TIMEOUT_SECONDS", "2"), ("REQUEST_TIMEOUT_SECONDS", "1")];
    let t = gateway(&stub, &[OpenAi], &vars).await;
    assert_eq!(reason(soon("answer", chat(&t.user("amy").await, "x")).await, OpenAi), "timeout");
}
