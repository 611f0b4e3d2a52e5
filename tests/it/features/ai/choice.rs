//! Which provider and which model answers: defaults, the caller's choice, routes, and the status page.

use serde_json::{Value, json};

use super::stub::{Asked, Stub};
use super::vendors::{VENDORS, Vendor};
use super::{chat, gateway};
use crate::harness::TestApp;
use Vendor::{Anthropic, Gemini, OpenAi};

/// A stub that answers as the vendor whose path is called.
fn stub() -> Stub {
    Stub::by(|asked| Vendor::of_path(&asked.path).either(asked.is_streamed(), "Hi"))
}

/// The model that a request names, wherever its vendor has it.
fn model(asked: &Asked) -> String {
    match asked.path.strip_prefix("/v1beta/models/") {
        Some(rest) => rest.split_once(':').unwrap().0.to_owned(),
        None => asked.body["model"].as_str().unwrap().to_owned(),
    }
}

/// Provider and model of the answer; the request upstream must agree with them.
async fn answers(t: &TestApp, stub: &Stub, path: &str, body: Value) -> (String, String) {
    let answer = t.user("amy").await.post(path, body).await.expect(200);
    let asked = stub.asked().pop().unwrap();
    let provider = Vendor::of_path(&asked.path).name();
    assert_eq!(answer["provider"], provider, "{answer}");
    (provider.to_owned(), model(&asked))
}

fn pair(provider: &str, model: &str) -> (String, String) {
    (provider.to_owned(), model.to_owned())
}

#[tokio::test]
async fn default_provider_with_key_answers_with_own_model() {
    let stub = stub();
    for vendor in VENDORS {
        let t = gateway(&stub, &VENDORS, &[("AI_DEFAULT_PROVIDER", vendor.name())]).await;
        let expected = pair(vendor.name(), vendor.default_model());
        assert_eq!(answers(&t, &stub, "/app/ai/chat", json!({"prompt": "x"})).await, expected);
        let messages = json!({"messages": [{"role": "user", "content": "x"}]});
        assert_eq!(answers(&t, &stub, "/app/ai/completions", messages).await, expected);
    }
}

#[tokio::test]
async fn default_provider_without_key_yields_to_first_configured() {
    let stub = stub();
    for (default, configured, first) in [
        ("openai", &[Anthropic, Gemini][..], Anthropic),
        ("openai", &[Gemini], Gemini),
        ("gemini", &[Anthropic, OpenAi], OpenAi),
        ("anthropic", &[Gemini], Gemini),
    ] {
        // A model that was set for the default provider is not sent to another one.
        let t = gateway(&stub, configured, &[("AI_DEFAULT_PROVIDER", default), ("AI_DEFAULT_MODEL", "only-for-the-default")]).await;
        let expected = pair(first.name(), first.default_model());
        assert_eq!(answers(&t, &stub, "/app/ai/chat", json!({"prompt": "x"})).await, expected);
    }
}

#[tokio::test]
async fn default_model_applies_and_callers_model_wins() {
    let stub = stub();
    for (vendor, model) in [(OpenAi, "gpt-4.1-mini"), (Anthropic, "claude-haiku-4-5"), (Gemini, "gemini-3.5-pro")] {
        let t = gateway(&stub, &[vendor], &[("AI_DEFAULT_MODEL", model)]).await;
        assert_eq!(answers(&t, &stub, "/app/ai/chat", json!({"prompt": "x"})).await, pair(vendor.name(), model));
        let asked = json!({"prompt": "x", "model": "chosen-by-caller"});
        assert_eq!(answers(&t, &stub, "/app/ai/chat", asked).await, pair(vendor.name(), "chosen-by-caller"));
        let asked = json!({"prompt": "x", "model": null});
        assert_eq!(answers(&t, &stub, "/app/ai/chat", asked).await, pair(vendor.name(), model));
    }
}

#[tokio::test]
async fn routes_have_the_documented_defaults() {
    let stub = stub();
    // The default provider plays no part in routes.
    let t = gateway(&stub, &VENDORS, &[("AI_DEFAULT_PROVIDER", "gemini"), ("AI_DEFAULT_MODEL", "another")]).await;
    for (complexity, provider, model) in [
        (Some("simple"), "openai", "gpt-6-luna"),
        (Some("moderate"), "openai", "gpt-6-luna"),
        (Some("complex"), "anthropic", "claude-sonnet-5-5"),
        (Some("search"), "openai", "gpt-6-luna"),
        (None, "openai", "gpt-6-luna"),
    ] {
        let mut body = json!({"prompt": "x"});
        if let Some(complexity) = complexity {
            body["complexity"] = complexity.into();
        }
        assert_eq!(answers(&t, &stub, "/app/ai/chat/routed", body).await, pair(provider, model), "{complexity:?}");
    }
}

#[tokio::test]
async fn routes_follow_their_variables() {
    let stub = stub();
    let vars = [
        ("AI_ROUTE_SIMPLE", "gemini:gemini-3.5-flash"),
        ("AI_ROUTE_MODERATE", "anthropic:claude-haiku-5-5"),
        ("AI_ROUTE_COMPLEX", "openai:gpt-6-sol"),
        // A model may hold a colon, as those of Ollama do.
        ("AI_ROUTE_SEARCH", "openai:llama3.3:70b"),
    ];
    let t = gateway(&stub, &VENDORS, &vars).await;
    for (complexity, provider, model) in [
        ("simple", "gemini", "gemini-3.5-flash"),
        ("moderate", "anthropic", "claude-haiku-5-5"),
        ("complex", "openai", "gpt-6-sol"),
        ("search", "openai", "llama3.3:70b"),
    ] {
        let body = json!({"prompt": "x", "complexity": complexity});
        assert_eq!(answers(&t, &stub, "/app/ai/chat/routed", body).await, pair(provider, model));
    }
}

#[tokio::test]
async fn route_without_key_uses_first_configured_own_model() {
    let stub = stub();
    let routed = |complexity: &str| json!({"prompt": "x", "complexity": complexity});
    let t = gateway(&stub, &[Gemini], &[]).await;
    for complexity in ["simple", "moderate", "complex", "search"] {
        assert_eq!(answers(&t, &stub, "/app/ai/chat/routed", routed(complexity)).await, pair("gemini", "gemini-3.5-flash-lite"));
    }
    // The provider's own default model, also where another one is set for all else.
    let t = gateway(&stub, &[OpenAi, Gemini], &[("AI_DEFAULT_MODEL", "gpt-4.1-mini")]).await;
    assert_eq!(answers(&t, &stub, "/app/ai/chat/routed", routed("complex")).await, pair("openai", "gpt-6-luna"));
}

#[tokio::test]
async fn invalid_routes_and_providers_stop_the_start() {
    let place = || crate::harness::process::Place::bare();
    for (name, value) in [
        ("AI_ROUTE_SIMPLE", "gpt-6-luna"),
        ("AI_ROUTE_MODERATE", "hunter2:gpt-6-luna"),
        ("AI_ROUTE_COMPLEX", "openai:"),
        ("AI_DEFAULT_PROVIDER", "hunter2"),
        ("AI_FALLBACK", "openai,hunter2"),
        ("AI_TIMEOUT_SECONDS", "hunter2"),
        ("AI_FIRST_TOKEN_SECONDS", "-1"),
        ("OPENAI_BASE_URL", "hunter2"),
    ] {
        let refusal = place().with(name, value).run(&["config"]).await.expect_refusal();
        assert!(refusal.contains(name) && !refusal.contains("hunter2"), "{name}: {refusal}");
    }
}

#[tokio::test]
async fn status_names_providers_in_order() {
    let stub = stub();
    for (configured, default, model, expected) in [
        (&[][..], "openai", "", json!({"available": false, "providers": []})),
        (&[Gemini, OpenAi], "openai", "", json!({"available": true, "providers": ["openai", "gemini"], "default_model": "gpt-6-luna"})),
        (
            &[Gemini, Anthropic, OpenAi],
            "anthropic",
            "claude-haiku-5-5",
            json!({
                "available": true, "providers": ["openai", "anthropic", "gemini"],
                "default_provider": "anthropic", "default_model": "claude-haiku-5-5",
            }),
        ),
    ] {
        let t = gateway(&stub, configured, &[("AI_DEFAULT_PROVIDER", default), ("AI_DEFAULT_MODEL", model)]).await;
        let status = t.user("amy").await.get("/app/ai/status").await.expect(200);
        for (member, value) in expected.as_object().unwrap() {
            assert_eq!(&status[member], value, "{member}: {status}");
        }
        let members = ["available", "default_model", "default_provider", "providers"];
        let mut found: Vec<_> = status.as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, members, "{status}");
        assert!(status["default_provider"].is_string() && status["default_model"].is_string(), "{status}");
    }
    assert_eq!(stub.calls(), 0, "the status calls no vendor");
}

#[tokio::test]
async fn openai_address_with_path_keeps_it() {
    let stub = stub();
    for (path, expected) in [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/gateway/openai/v1", "/gateway/openai/v1/chat/completions"),
    ] {
        let url = format!("{}{path}", stub.url);
        let t = gateway(&stub, &[OpenAi], &[("OPENAI_BASE_URL", &url)]).await;
        chat(&t.user("amy").await, "x").await.expect(200);
        assert_eq!(stub.asked().last().unwrap().path, expected, "{path}");
    }
}

/// A model is text of the caller: it must not choose another path or host.
#[tokio::test]
async fn gemini_model_cannot_leave_its_path() {
    let stub = stub();
    let t = gateway(&stub, &[Gemini], &[]).await;
    let amy = t.user("amy").await;
    for model in
        ["../../v1/files", "x/../../y", "a?key=1", "a#b", "a b", "@127.0.0.1:1/x", "%2e%2e/x", "x:streamGenerateContent?alt=json", "模型", "..", ""]
    {
        let before = stub.calls();
        let reply = amy.post("/app/ai/chat", json!({"prompt": "x", "model": model})).await;
        assert!([200, 422, 502].contains(&reply.status.as_u16()), "{model}: {}", reply.text());
        for asked in stub.asked().split_off(before) {
            let name = asked.path.strip_prefix("/v1beta/models/").unwrap_or_else(|| panic!("{model} became {}", asked.path));
            let name = name.strip_suffix(":generateContent").unwrap_or_else(|| panic!("{model} became {}", asked.path));
            assert!(!name.contains(['/', '?', '#', ' ']), "{model}: {}", asked.path);
        }
    }
}
