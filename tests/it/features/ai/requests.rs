//! What each vendor is asked: address, credentials, roles, and the parameters that its models take.

use serde_json::{Value, json};

use super::stub::{Asked, Stub};
use super::vendors::{VENDORS, Vendor};
use super::{chat, gateway, reason};
use Vendor::{Anthropic, Gemini, OpenAi};

/// The request that the vendor gets for this body.
async fn asked(vendor: Vendor, path: &str, body: Value, vars: &[(&str, &str)]) -> Asked {
    let streamed = body["stream"] == true;
    let stub = Stub::start(vendor.either(streamed, "Hi"));
    let t = gateway(&stub, &[vendor], vars).await;
    t.user("amy").await.post(path, body).await.expect_text(200);
    stub.only()
}

async fn asked_chat(vendor: Vendor, body: Value) -> Value {
    asked(vendor, "/app/ai/chat", body, &[]).await.body
}

#[tokio::test]
async fn key_travels_in_its_header_only() {
    for vendor in VENDORS {
        for stream in [false, true] {
            let asked = asked(vendor, "/app/ai/chat", json!({"prompt": "x", "stream": stream}), &[]).await;
            assert_eq!(asked.method, "POST");
            let (path, header, value) = match vendor {
                OpenAi => ("/v1/chat/completions", "authorization", format!("Bearer {}", vendor.key())),
                Anthropic => ("/v1/messages", "x-api-key", vendor.key().to_owned()),
                Gemini if stream => {
                    ("/v1beta/models/gemini-3.5-flash-lite:streamGenerateContent?alt=sse", "x-goog-api-key", vendor.key().to_owned())
                }
                Gemini => ("/v1beta/models/gemini-3.5-flash-lite:generateContent", "x-goog-api-key", vendor.key().to_owned()),
            };
            assert_eq!((asked.path.as_str(), asked.header(header)), (path, Some(value.as_str())));
            assert_eq!(asked.header("anthropic-version"), (vendor == Anthropic).then_some("2023-06-01"));
            assert!(asked.header("content-type").unwrap().starts_with("application/json"));
            assert!(!asked.body.to_string().contains(vendor.key()));
            let others = asked.headers.iter().filter(|(name, _)| *name != header);
            assert!(others.into_iter().all(|(_, value)| !value.to_str().unwrap().contains(vendor.key())), "{:?}", asked.headers);
        }
    }
}

#[tokio::test]
async fn stream_asks_for_usage_figures() {
    let body = asked_chat(OpenAi, json!({"prompt": "x", "stream": true})).await;
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({"include_usage": true})));
    let body = asked_chat(OpenAi, json!({"prompt": "x"})).await;
    assert!(body["stream"] != true && body.get("stream_options").is_none(), "{body}");
    assert_eq!(asked_chat(Anthropic, json!({"prompt": "x", "stream": true})).await["stream"], true);
}

#[tokio::test]
async fn roles_are_mapped_for_each_vendor() {
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "system", "content": "Speak 中文 😀."},
        {"role": "user", "content": "Three\n"},
    ]);
    let body = async |vendor| asked(vendor, "/app/ai/completions", json!({"messages": messages}), &[]).await.body;
    assert_eq!(body(OpenAi).await["messages"], messages);

    let anthropic = body(Anthropic).await;
    assert_eq!(anthropic["system"], "Be brief.\n\nSpeak 中文 😀.");
    let turns = [("user", "One"), ("assistant", "Two"), ("user", "Three\n")];
    let found: Vec<_> = anthropic["messages"].as_array().unwrap().iter().map(|turn| (turn["role"].as_str().unwrap(), text(turn))).collect();
    assert_eq!(found, turns.map(|(role, text)| (role, text.to_owned())));

    let gemini = body(Gemini).await;
    let system = gemini.get("systemInstruction").or_else(|| gemini.get("system_instruction")).unwrap();
    let parts: Vec<_> = system["parts"].as_array().unwrap().iter().map(|part| part["text"].as_str().unwrap()).collect();
    assert_eq!(parts.join("\n\n"), "Be brief.\n\nSpeak 中文 😀.");
    let turns = [("user", "One"), ("model", "Two"), ("user", "Three\n")];
    let found: Vec<_> = gemini["contents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| (turn["role"].as_str().unwrap(), turn["parts"][0]["text"].as_str().unwrap()))
        .collect();
    assert_eq!(found, turns);
}

/// The text of an Anthropic message: a string or one block.
fn text(message: &Value) -> String {
    let content = &message["content"];
    content.as_str().or_else(|| content[0]["text"].as_str()).unwrap().to_owned()
}

#[tokio::test]
async fn prompt_and_system_of_chat_become_messages() {
    for path in ["/app/ai/chat", "/app/ai/chat/routed"] {
        let body = asked(OpenAi, path, json!({"prompt": "Hello", "system": "Be brief."}), &[]).await.body;
        assert_eq!(body["messages"], json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]), "{path}");
        let body = asked(OpenAi, path, json!({"prompt": " Hello ", "system": null}), &[]).await.body;
        assert_eq!(body["messages"], json!([{"role": "user", "content": " Hello "}]), "{path}");
    }
    let body = asked_chat(Anthropic, json!({"prompt": "Hello"})).await;
    assert!(body.get("system").is_none_or(Value::is_null), "{body}");
    let body = asked_chat(Gemini, json!({"prompt": "Hello"})).await;
    assert!(body.get("systemInstruction").is_none_or(Value::is_null), "{body}");
}

#[tokio::test]
async fn max_tokens_has_each_vendors_name() {
    for (given, sent) in [(json!({"prompt": "x"}), 4096), (json!({"prompt": "x", "max_tokens": 7}), 7)] {
        let body = asked_chat(OpenAi, given.clone()).await;
        assert_eq!((&body["max_completion_tokens"], body.get("max_tokens")), (&json!(sent), None));
        assert_eq!(asked_chat(Anthropic, given.clone()).await["max_tokens"], sent);
        assert_eq!(asked_chat(Gemini, given).await["generationConfig"]["maxOutputTokens"], sent);
    }
}

#[tokio::test]
async fn temperature_is_sent_where_models_take_it() {
    let default = json!(0.7);
    // The default models.
    assert_eq!(asked_chat(OpenAi, json!({"prompt": "x"})).await["temperature"], default);
    assert_eq!(asked_chat(Gemini, json!({"prompt": "x"})).await["generationConfig"]["temperature"], default);
    assert_eq!(asked_chat(OpenAi, json!({"prompt": "x", "temperature": 0.25})).await["temperature"], 0.25);
    assert_eq!(asked_chat(Gemini, json!({"prompt": "x", "temperature": 2})).await["generationConfig"]["temperature"], 2.0);
    // A model that nobody knows: the caller decides.
    let unknown = json!({"prompt": "x", "temperature": 0.25, "model": "llama3.3:70b"});
    assert_eq!(asked_chat(OpenAi, unknown).await["temperature"], 0.25);
}

#[tokio::test]
async fn temperature_is_capped_at_one_for_anthropic() {
    for (given, sent) in [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0), (1.01, 1.0), (2.0, 1.0)] {
        let body = asked_chat(Anthropic, json!({"prompt": "x", "temperature": given, "model": "claude-haiku-4-5"})).await;
        assert_eq!(body["temperature"], sent, "{given}");
    }
}

#[tokio::test]
async fn temperature_never_reaches_models_that_refuse_it() {
    for (model, takes) in [
        ("claude-sonnet-5-5", false),
        ("claude-sonnet-5", false),
        ("claude-sonnet-6", false),
        ("claude-opus-4-7", false),
        ("claude-opus-5-5", false),
        ("claude-haiku-5-5", false),
        ("claude-haiku-6", false),
        ("claude-opus-4-6", true),
        ("claude-sonnet-4-6", true),
        ("claude-haiku-4-5", true),
        // The number behind the name is a date, no minor version.
        ("claude-haiku-4-5-20251001", true),
        ("claude-opus-4-20250514", true),
        ("claude-sonnet-4-20250514", true),
        ("claude-opus-4-7-20260416", false),
        // The older order of name and version.
        ("claude-3-5-sonnet-20241022", true),
        ("claude-3-opus-20240229", true),
    ] {
        let body = asked_chat(Anthropic, json!({"prompt": "x", "temperature": 0.25, "model": model})).await;
        assert_eq!(body.get("temperature"), takes.then_some(&json!(0.25)), "{model}");
    }
    for model in ["o3", "o4-mini"] {
        let body = asked_chat(OpenAi, json!({"prompt": "x", "temperature": 0.25, "model": model})).await;
        assert_eq!(body.get("temperature"), None, "{model}");
    }
}

#[tokio::test]
async fn reasoning_effort_is_none_for_default_model() {
    assert_eq!(asked_chat(OpenAi, json!({"prompt": "x"})).await["reasoning_effort"], "none");
    let effort = [("AI_REASONING_EFFORT", "low")];
    let with = async |model: &str| asked(OpenAi, "/app/ai/chat", json!({"prompt": "x", "model": model}), &effort).await.body;
    assert_eq!(with("gpt-6-luna").await["reasoning_effort"], "none");
    let reasoning = with("o3").await;
    assert_eq!((&reasoning["reasoning_effort"], reasoning.get("temperature")), (&json!("low"), None));
    assert!(asked_chat(OpenAi, json!({"prompt": "x", "model": "o3"})).await.get("reasoning_effort").is_none());
}

#[tokio::test]
async fn refused_max_completion_tokens_becomes_max_tokens() {
    let stub = Stub::by(|asked| {
        if asked.body.get("max_completion_tokens").is_some() {
            let message = "Unrecognized request argument supplied: max_completion_tokens";
            return OpenAi.fails(400, "unknown_parameter", message);
        }
        OpenAi.either(asked.is_streamed(), "Hi")
    });
    let t = gateway(&stub, &[OpenAi], &[]).await;
    let amy = t.user("amy").await;
    assert_eq!(chat(&amy, "x").await.expect(200)["content"], "Hi");
    let [first, second] = stub.asked().try_into().ok().unwrap();
    assert_eq!((&first.body["max_completion_tokens"], first.body.get("max_tokens")), (&json!(4096), None));
    assert_eq!((second.body.get("max_completion_tokens"), &second.body["max_tokens"]), (None, &json!(4096)));
    // It is remembered, for streams too.
    chat(&amy, "x").await.expect(200);
    assert_eq!(super::texts(super::stream(&amy, "x").await), ["Hi"]);
    assert_eq!(stub.calls(), 4);
    assert!(stub.asked()[2..].iter().all(|asked| asked.body["max_tokens"] == 4096));
}

#[tokio::test]
async fn refused_parameter_is_left_out_once_and_remembered() {
    for (vendor, model, message) in [
        (OpenAi, "llama3.3", "Unsupported value: 'temperature' does not support 0.25 with this model. Only the default (1) value is supported."),
        (Anthropic, "claude-haiku-4-5", "`temperature` is deprecated for this model."),
    ] {
        let stub = Stub::by(move |asked| {
            if asked.body.get("temperature").is_some() && asked.body["model"] == model {
                return vendor.fails(400, "invalid_request_error", message);
            }
            vendor.either(asked.is_streamed(), "Hi")
        });
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        let ask = async |model: &str, stream: bool| {
            let body = json!({"prompt": "x", "temperature": 0.25, "model": model, "stream": stream});
            amy.post("/app/ai/chat", body).await.expect_text(200)
        };
        ask(model, true).await;
        let sent: Vec<_> = stub.asked().iter().map(|asked| asked.body.get("temperature").cloned()).collect();
        assert_eq!(sent, [Some(json!(0.25)), None], "{model}");
        ask(model, false).await;
        assert_eq!((stub.calls(), stub.asked()[2].body.get("temperature")), (3, None), "remembered for {model}");
        // It is remembered for that model only.
        let other = if vendor == OpenAi { "gpt-4o" } else { "claude-sonnet-4-5" };
        ask(other, false).await;
        assert_eq!((stub.calls(), &stub.asked()[3].body["temperature"]), (4, &json!(0.25)), "{other}");
    }
}

#[tokio::test]
async fn parameter_refused_again_is_a_failure() {
    let stub = Stub::start(OpenAi.fails(400, "unsupported_value", "Unsupported value: 'temperature' is not supported."));
    let t = gateway(&stub, &[OpenAi], &[]).await;
    assert_eq!(reason(chat(&t.user("amy").await, "x").await, OpenAi), "invalid_request");
    assert_eq!(stub.calls(), 2);
    // A 400 that names no parameter of ours is not tried again.
    stub.answer(OpenAi.fails(400, "invalid_prompt", "Your prompt about the temperature in Rome was flagged."));
    assert_eq!(reason(chat(&t.user("amy").await, "x").await, OpenAi), "invalid_request");
    assert!(stub.calls() <= 4, "{}", stub.calls());
}
