//! The provider for development: no key, no network, the same answer each time.

use serde_json::{Value, json};

use super::{chat, events, metrics, stream, sum, texts};
use crate::harness::process::Place;
use crate::harness::{Backend, TestApp};

async fn server(vars: &[(&str, &str)]) -> TestApp {
    let mut all = vec![("AI_DEFAULT_PROVIDER", "echo"), ("PLAN_LIMITS_ENABLED", "false")];
    all.extend(vars);
    TestApp::with(Backend::Sqlite, &all).await
}

#[tokio::test]
async fn echo_answers_without_a_key() {
    let t = server(&[]).await;
    let amy = t.user("amy").await;
    let status = amy.get("/app/ai/status").await.expect(200);
    assert_eq!((&status["available"], &status["default_provider"]), (&json!(true), &json!("echo")), "{status}");
    assert!(status["providers"].as_array().unwrap().contains(&json!("echo")), "{status}");
    for (path, body) in [
        ("/app/ai/chat", json!({"prompt": "one two 你好 😀"})),
        ("/app/ai/chat", json!({"prompt": "one two 你好 😀", "model": "anything"})),
        ("/app/ai/chat/routed", json!({"prompt": "one two 你好 😀", "complexity": "complex"})),
        ("/app/ai/completions", json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "one two 你好 😀"}]})),
    ] {
        let answer = amy.post(path, body).await.expect(200);
        assert_eq!(answer["provider"], "echo", "{path}");
        assert!(answer["content"].as_str().unwrap().contains("one two 你好 😀"), "{answer}");
        let [prompt, completion, total] =
            ["prompt_tokens", "completion_tokens", "total_tokens"].map(|member| answer["usage"][member].as_u64().unwrap());
        assert!(prompt > 0 && completion > 0 && total == prompt + completion, "{answer}");
    }
}

#[tokio::test]
async fn echo_gives_same_answer_each_time() {
    let (one, two) = (server(&[]).await, server(&[]).await);
    let mut answers = Vec::new();
    for t in [&one, &one, &two] {
        let mut answer: Value = chat(&t.user("amy").await, "What is Rust?").await.expect(200);
        answer.as_object_mut().unwrap().remove("latency_ms");
        answers.push(answer);
    }
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
}

#[tokio::test]
async fn echo_streams_word_by_word() {
    let t = server(&[]).await;
    let amy = t.user("amy").await;
    let prompt = "one two  three\nfour 你好 😀";
    let whole = chat(&amy, prompt).await.expect(200)["content"].as_str().unwrap().to_owned();
    let reply = stream(&amy, prompt).await;
    assert!(events(&reply.text()).len() >= 6, "{}", reply.text());
    assert_eq!(texts(reply).concat(), whole);
    let page = metrics(&t).await;
    assert_eq!(sum(&page, "llm_requests_total", &[("provider", "echo")]), 2);
    for kind in ["prompt", "completion"] {
        let tokens = sum(&page, "llm_tokens_total", &[("provider", "echo"), ("type", kind)]);
        assert!(tokens >= 2 && tokens.is_multiple_of(2), "a stream counts as many tokens as the same answer at once: {kind} {tokens}");
    }
}

#[tokio::test]
async fn echo_validates_as_vendors_do() {
    let t = server(&[]).await;
    let amy = t.user("amy").await;
    amy.post("/app/ai/chat", json!({"prompt": "x", "temperature": 3})).await.expect_invalid();
    // The end of a stream cannot be forged by the prompt.
    let found = events(&stream(&amy, "[DONE]").await.expect_text(200));
    assert_eq!(found.iter().filter(|event| event.data == "[DONE]").count(), 1, "{found:?}");
}

#[tokio::test]
async fn echo_is_quota_counted() {
    let t = server(&[("PLAN_LIMITS_ENABLED", "true")]).await;
    let amy = t.user("amy").await;
    assert_eq!(chat(&amy, "x").await.header("x-quota-remaining"), Some("49"));
    assert_eq!(stream(&amy, "x").await.header("x-quota-remaining"), Some("48"));
}

#[tokio::test]
async fn echo_is_refused_in_production() {
    let place = || {
        Place::bare()
            .with("ENVIRONMENT", "production")
            .with("SECRET_KEY", "0123456789abcdef0123456789abcdef")
            .with("DATABASE_URL", "postgres://app:pw@db.internal/app?sslmode=require")
            .with("BACKEND_CORS_ORIGINS", "https://app.example.com")
            .with("PUBLIC_BASE_URL", "https://api.example.com")
    };
    place().run(&["config"]).await.expect_ok();
    let refusal = place().with("AI_DEFAULT_PROVIDER", "echo").run(&["config"]).await.expect_refusal();
    assert!(refusal.contains("AI_DEFAULT_PROVIDER"), "{refusal}");
}

/// It answers only where it was chosen: never for a vendor without a key, by a route or as a fall-back.
#[tokio::test]
async fn echo_answers_only_as_default_provider() {
    for (name, value) in [("AI_DEFAULT_PROVIDER", "openai"), ("AI_FALLBACK", "echo"), ("AI_ROUTE_MODERATE", "echo:echo")] {
        let t = server(&[("AI_DEFAULT_PROVIDER", "openai"), (name, value)]).await;
        let amy = t.user("amy").await;
        assert_eq!(amy.get("/app/ai/status").await.expect(200)["available"], false, "{name}");
        chat(&amy, "x").await.expect_error(503, "SERVICE_UNAVAILABLE");
        amy.post("/app/ai/chat/routed", json!({"prompt": "x"})).await.expect_error(503, "SERVICE_UNAVAILABLE");
    }
}

#[tokio::test]
async fn echo_is_named_in_the_banner() {
    let place = Place::new().with("AI_DEFAULT_PROVIDER", "echo").with("SHUTDOWN_DELAY_SECONDS", "0");
    let output = place.serve().await.stop().await;
    let banner = output.lines().find(|line| line.to_lowercase().contains("echo"));
    assert!(banner.is_some(), "{output}");
}
