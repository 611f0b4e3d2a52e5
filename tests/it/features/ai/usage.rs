//! Metrics of the gateway: requests, tokens and durations by provider and model, and the calls to its vendors.

use std::collections::BTreeSet;

use serde_json::json;

use super::stub::{Script, Step, Stub};
use super::vendors::{COMPLETION_TOKENS, PROMPT_TOKENS, VENDORS, Vendor};
use super::{IMPATIENT, chat, gateway, metrics, stream, sum, tokens};
use crate::harness::eventually;
use Vendor::{Anthropic, Gemini, OpenAi};

#[tokio::test]
async fn success_is_counted_once_with_its_tokens() {
    for vendor in VENDORS {
        let stub = Stub::by(move |asked| vendor.either(asked.is_streamed(), "Hi"));
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        for n in 1..=3 {
            if n == 2 {
                stream(&amy, "x").await.expect_text(200);
            } else {
                chat(&amy, "x").await.expect(200);
            }
            let expected = (n * PROMPT_TOKENS, n * COMPLETION_TOKENS);
            eventually("tokens are counted", async || tokens(&t, vendor).await == expected).await;
            let page = metrics(&t).await;
            let labels = [("provider", vendor.name()), ("model", vendor.default_model())];
            for name in ["llm_requests_total", "llm_request_duration_seconds_count"] {
                assert_eq!(sum(&page, name, &labels), n, "{name} {vendor:?}");
            }
            let labels = [("service", vendor.name()), ("status", "success")];
            assert_eq!(sum(&page, "external_service_requests_total", &labels), n, "{vendor:?}");
            assert_eq!(sum(&page, "external_service_duration_seconds_count", &labels[..1]), n, "{vendor:?}");
            assert_eq!(sum(&page, "external_service_requests_total", &[("status", "error")]), 0, "{vendor:?}");
        }
    }
}

#[tokio::test]
async fn failed_request_is_counted_once_without_tokens() {
    for vendor in VENDORS {
        let stub = Stub::start(vendor.fails(500, "api_error", "x"));
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        for n in 1..=2 {
            let reply = if n == 1 { chat(&amy, "x").await } else { stream(&amy, "x").await };
            reply.expect_error(502, "EXTERNAL_SERVICE_ERROR");
            let page = metrics(&t).await;
            assert_eq!(sum(&page, "llm_requests_total", &[("provider", vendor.name())]), n, "{vendor:?}");
            let calls = [("service", vendor.name()), ("status", "error")];
            assert_eq!(sum(&page, "external_service_requests_total", &calls), n * 3, "each call is measured");
        }
        assert_eq!(tokens(&t, vendor).await, (0, 0));
        let page = metrics(&t).await;
        let statuses: BTreeSet<_> = page.lines().filter(|line| line.starts_with("llm_requests_total{")).map(label("status")).collect();
        assert_eq!(statuses.len(), 1, "{statuses:?}");
        assert!(!statuses.contains("success"), "{statuses:?}");
    }
}

/// Reads a label of a sample.
fn label(name: &str) -> impl Fn(&str) -> String {
    let start = format!("{name}=\"");
    move |line| line.split_once(&start).and_then(|(_, rest)| rest.split_once('"')).unwrap().0.to_owned()
}

#[tokio::test]
async fn broken_stream_is_counted_by_a_quarter_of_its_bytes() {
    for vendor in VENDORS {
        // 400 bytes of text: 你 has three, and 😀 four.
        let text = "你".repeat(100) + &"😀".repeat(25);
        let script = Script::stream().piece(vendor.opening() + &vendor.piece(&text) + &vendor.overloaded()).then(Step::End);
        let stub = Stub::start(script);
        let t = gateway(&stub, &[vendor], &[]).await;
        super::broken_by(stream(&t.user("amy").await, &"x".repeat(400)).await, vendor);
        eventually("tokens are counted", async || tokens(&t, vendor).await.1 > 0).await;
        let (prompt, completion) = tokens(&t, vendor).await;
        assert!((99..=101).contains(&completion), "{vendor:?}: {completion}");
        assert!(prompt > 0 && prompt < 130, "{vendor:?}: {prompt}");
        assert_eq!(sum(&metrics(&t).await, "llm_requests_total", &[("provider", vendor.name())]), 1);
    }
}

#[tokio::test]
async fn last_figure_of_vendor_wins_over_an_estimate() {
    // Gemini tells its figures in every chunk.
    let chunk = json!({
        "candidates": [{"content": {"parts": [{"text": "y".repeat(400)}]}}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 4, "totalTokenCount": 16},
    });
    let stub = Stub::start(Script::stream().piece(format!("data: {chunk}\n\n")).then(Step::Close));
    let t = gateway(&stub, &[Gemini], &[]).await;
    super::broken_by(stream(&t.user("amy").await, "x").await, Gemini);
    eventually("tokens are counted", async || tokens(&t, Gemini).await == (7, 9)).await;
    // The figure that Anthropic sends at the start is only a placeholder.
    let script = Script::stream().piece(Anthropic.opening() + &Anthropic.piece(&"y".repeat(40))).then(Step::Close);
    let stub = Stub::start(script);
    let t = gateway(&stub, &[Anthropic], &[]).await;
    super::broken_by(stream(&t.user("amy").await, "x").await, Anthropic);
    eventually("tokens are counted", async || tokens(&t, Anthropic).await == (12, 10)).await;
}

#[tokio::test]
async fn timeout_is_counted_as_error() {
    let stub = Stub::start(Script::hang());
    let t = gateway(&stub, &[OpenAi], &IMPATIENT).await;
    chat(&t.user("amy").await, "x").await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    let page = metrics(&t).await;
    assert_eq!(sum(&page, "llm_requests_total", &[("provider", "openai")]), 1);
    assert_eq!(sum(&page, "external_service_requests_total", &[("service", "openai"), ("status", "error")]), 1);
    assert_eq!(sum(&page, "llm_request_duration_seconds_count", &[("provider", "openai")]), 1);
}

/// A model is text of the caller, and labels must be few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn model_labels_are_bounded() {
    for vendor in VENDORS {
        let stub = Stub::start(vendor.answer("Hi"));
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        for n in 0..300 {
            let status = amy.post("/app/ai/chat", json!({"prompt": "x", "model": format!("model-{n}")})).await.status;
            assert!(status == 200 || status == 422, "{status}");
        }
        chat(&amy, "x").await.expect(200);
        let page = metrics(&t).await;
        let labels: BTreeSet<_> = page.lines().filter(|line| line.starts_with("llm_") && line.contains("model=\"")).map(label("model")).collect();
        assert!(labels.len() <= 110, "{} labels", labels.len());
        assert!(labels.contains(vendor.default_model()), "a configured model keeps its label: {labels:?}");
        assert_eq!(sum(&page, "llm_requests_total", &[("provider", vendor.name())]), 301, "the others are counted together");
    }
}

#[tokio::test]
async fn refused_text_is_no_label() {
    let stub = Stub::start(OpenAi.fails(404, "model_not_found", "x"));
    let t = gateway(&stub, &[OpenAi], &[]).await;
    let amy = t.user("amy").await;
    for model in ["my password is hunter2", "hunter2@example.com", "hunter2\"} 1\nforged_metric 7", &"hunter2".repeat(1000)] {
        let status = amy.post("/app/ai/chat", json!({"prompt": "x", "model": model})).await.status;
        assert!(status == 502 || status == 422, "{status}");
    }
    let page = metrics(&t).await;
    assert!(!page.contains("hunter2") && !page.contains("\nforged_metric"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_of_departed_caller_is_no_label() {
    let stub = Stub::start(Script::hang());
    let t = gateway(&stub, &[OpenAi], &IMPATIENT).await;
    let amy = t.user("amy").await;
    for streamed in [false, true] {
        let (amy, before) = (amy.clone(), stub.calls());
        let body = json!({"prompt": "x", "model": "hunter2", "stream": streamed});
        let call = tokio::spawn(async move { amy.post("/app/ai/chat", body).open().await });
        eventually("the vendor is called", async || stub.calls() > before).await;
        call.abort();
    }
    eventually("both are counted", async || sum(&metrics(&t).await, "llm_requests_total", &[]) == 2).await;
    assert!(!metrics(&t).await.contains("hunter2"));
}

#[tokio::test]
async fn fallback_is_counted_for_the_provider_that_answers() {
    let stub = Stub::by(|asked| match Vendor::of_path(&asked.path) {
        OpenAi => OpenAi.fails(500, "api_error", "x"),
        other => other.answer("Hi"),
    });
    let t = gateway(&stub, &[OpenAi, Gemini], &[("AI_FALLBACK", "gemini")]).await;
    chat(&t.user("amy").await, "x").await.expect(200);
    assert_eq!(tokens(&t, Gemini).await, (12, 34));
    assert_eq!(tokens(&t, OpenAi).await, (0, 0));
    let page = metrics(&t).await;
    assert_eq!(sum(&page, "llm_requests_total", &[("provider", "gemini"), ("model", "gemini-3.5-flash-lite")]), 1);
}
