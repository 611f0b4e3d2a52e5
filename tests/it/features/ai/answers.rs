//! How answers are read: text, usage figures and reasons of each vendor, refusals, answers without text, and answers that are
//! none.

use serde_json::{Value, json};

use super::stub::{Script, Stub};
use super::vendors::{VENDORS, Vendor};
use super::{chat, gateway, reason, soon, stream, texts, tokens};
use Vendor::{Anthropic, Gemini, OpenAi};

/// The completion that this answer becomes.
async fn read(vendor: Vendor, body: &Value) -> Value {
    let stub = Stub::start(Script::json(200, body));
    let t = gateway(&stub, &[vendor], &[]).await;
    chat(&t.user("amy").await, "x").await.expect(200)
}

fn usage(prompt: u64, completion: u64, total: u64) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total})
}

#[tokio::test]
async fn finish_reasons_are_those_of_the_vendor() {
    for reason in ["stop", "length", "content_filter", "tool_calls"] {
        assert_eq!(read(OpenAi, &OpenAi.body("Hi", reason)).await["finish_reason"], reason);
    }
    for reason in ["end_turn", "max_tokens", "stop_sequence", "refusal", "pause_turn", "model_context_window_exceeded"] {
        let answer = read(Anthropic, &Anthropic.body("Hi", reason)).await;
        assert_eq!((&answer["finish_reason"], &answer["content"]), (&json!(reason), &json!("Hi")));
    }
    for (reason, lower) in [("STOP", "stop"), ("MAX_TOKENS", "max_tokens"), ("SAFETY", "safety"), ("RECITATION", "recitation")] {
        assert_eq!(read(Gemini, &Gemini.body("Hi", reason)).await["finish_reason"], lower);
    }
    let mut without = Anthropic.body("Hi", "end_turn");
    without["stop_reason"] = Value::Null;
    assert_eq!(read(Anthropic, &without).await["finish_reason"], "end_turn");
}

#[tokio::test]
async fn usage_figures_are_summed_per_vendor() {
    let mut body = OpenAi.body("Hi", "stop");
    body["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 5});
    assert_eq!(read(OpenAi, &body).await["usage"], usage(10, 5, 15));
    body["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 20});
    assert_eq!(read(OpenAi, &body).await["usage"], usage(10, 5, 20));

    let mut body = Anthropic.body("Hi", "end_turn");
    body["usage"] = json!({"input_tokens": 5, "output_tokens": 2});
    assert_eq!(read(Anthropic, &body).await["usage"], usage(5, 2, 7));
    body["usage"] = json!({"input_tokens": 1, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 4});
    assert_eq!(read(Anthropic, &body).await["usage"], usage(321, 4, 325));
    body["usage"] = json!({"input_tokens": 1, "cache_creation_input_tokens": null, "cache_read_input_tokens": null, "output_tokens": 4});
    assert_eq!(read(Anthropic, &body).await["usage"], usage(1, 4, 5));

    let mut body = Gemini.body("Hi", "STOP");
    body["usageMetadata"] = json!({"promptTokenCount": 10, "candidatesTokenCount": 5});
    assert_eq!(read(Gemini, &body).await["usage"], usage(10, 5, 15));
    body["usageMetadata"] = json!({"promptTokenCount": 10, "thoughtsTokenCount": 7, "totalTokenCount": 17});
    assert_eq!(read(Gemini, &body).await["usage"], usage(10, 7, 17));
}

#[tokio::test]
async fn absent_usage_figures_are_zero() {
    for vendor in VENDORS {
        for value in [None, Some(Value::Null), Some(json!({}))] {
            let mut body = vendor.body("Hi", vendor.stop());
            let member = if vendor == Gemini { "usageMetadata" } else { "usage" };
            match value {
                None => drop(body.as_object_mut().unwrap().remove(member)),
                Some(value) => body[member] = value,
            }
            let answer = read(vendor, &body).await;
            assert_eq!((&answer["content"], &answer["usage"]), (&json!("Hi"), &usage(0, 0, 0)), "{vendor:?}");
        }
    }
}

#[tokio::test]
async fn text_is_made_of_all_text_blocks() {
    let mut body = Anthropic.body("", "end_turn");
    body["content"] = json!([
        {"type": "thinking", "thinking": "secret", "signature": "x"},
        {"type": "text", "text": "One "},
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "tool_use", "id": "t", "name": "secret", "input": {}},
        {"type": "text", "text": "two 你好 😀"},
    ]);
    assert_eq!(read(Anthropic, &body).await["content"], "One two 你好 😀");
    let mut body = Gemini.body("", "STOP");
    body["candidates"][0]["content"]["parts"] =
        json!([{"text": "secret", "thought": true}, {"text": "One "}, {"inlineData": {"data": "secret"}}, {"text": "two"}]);
    assert_eq!(read(Gemini, &body).await["content"], "One two");
}

#[tokio::test]
async fn answer_without_text_that_ended_by_length_is_empty() {
    for vendor in VENDORS {
        let mut body = vendor.body("", vendor.length());
        match vendor {
            OpenAi => body["choices"][0]["message"]["content"] = Value::Null,
            Anthropic => body["content"] = json!([{"type": "thinking", "thinking": "long", "signature": "x"}]),
            // Gemini leaves out the parts altogether.
            Gemini => body["candidates"][0]["content"] = json!({"role": "model"}),
        }
        let answer = read(vendor, &body).await;
        assert_eq!((&answer["content"], &answer["finish_reason"]), (&json!(""), &json!(vendor.length().to_lowercase())), "{vendor:?}");
        assert_eq!(answer["usage"], usage(12, 34, 46));
    }
}

#[tokio::test]
async fn stream_without_text_that_ended_is_done() {
    for vendor in VENDORS {
        let stub = Stub::start(Script::events(vendor.opening() + &vendor.ending(vendor.length())));
        let t = gateway(&stub, &[vendor], &[]).await;
        assert_eq!(stream(&t.user("amy").await, "x").await.expect_text(200), "data: [DONE]\n\n", "{vendor:?}");
        assert_eq!(tokens(&t, vendor).await, (12, 34), "{vendor:?}");
    }
}

#[tokio::test]
async fn refusal_of_a_model_is_an_answer() {
    let mut body = OpenAi.body("", "stop");
    body["choices"][0]["message"]["content"] = Value::Null;
    body["choices"][0]["message"]["refusal"] = "I cannot help with that.".into();
    let answer = read(OpenAi, &body).await;
    assert_eq!(answer["finish_reason"], "stop");
    assert!(answer["content"].is_string(), "{answer}");
    let mut body = Anthropic.body("", "refusal");
    body["content"] = json!([]);
    let answer = read(Anthropic, &body).await;
    assert_eq!((&answer["content"], &answer["finish_reason"]), (&json!(""), &json!("refusal")));
}

#[tokio::test]
async fn blocked_prompt_is_an_empty_answer() {
    let usage_metadata = json!({"promptTokenCount": 12, "totalTokenCount": 12});
    for body in [
        json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": usage_metadata, "modelVersion": "x"}),
        json!({"candidates": [], "promptFeedback": {"blockReason": "SAFETY", "safetyRatings": []}, "usageMetadata": usage_metadata}),
    ] {
        let answer = read(Gemini, &body).await;
        assert_eq!((&answer["content"], &answer["finish_reason"]), (&json!(""), &json!("blocked")));
        assert_eq!(answer["usage"], usage(12, 0, 12));
        let stub = Stub::start(Script::events(format!("data: {body}\n\n")));
        let t = gateway(&stub, &[Gemini], &[]).await;
        assert!(texts(stream(&t.user("amy").await, "x").await).is_empty());
    }
}

/// Answers with the status 200 that are none: 502, without a word of the upstream text.
#[tokio::test]
async fn answers_that_are_none_become_502() {
    let page = "<html><body>canary-of-a-proxy</body></html>";
    for vendor in VENDORS {
        let stub = Stub::start(Script::cut());
        let t = gateway(&stub, &[vendor], &super::IMPATIENT).await;
        let amy = t.user("amy").await;
        for (what, script) in [
            ("page", Script::answer(200, "text/html", page)),
            ("no JSON", Script::answer(200, "application/json", "{\"canary")),
            ("nothing", Script::answer(200, "application/json", "")),
            ("other JSON", Script::answer(200, "application/json", "[\"canary\"]")),
            ("empty object", Script::answer(200, "application/json", "{}")),
            ("short of its length", Script::short_of_length("application/json", "{\"id\": \"canary")),
            ("invalid UTF-8", Script::answer(200, "application/json", &b"{\"id\": \"\xff\xfe\"}"[..])),
            ("error inside 200", Script::json(200, &vendor.error(500, "server_error", "canary"))),
        ] {
            stub.answer(script);
            let reply = soon(what, chat(&amy, "x")).await;
            assert!(!reply.text().contains("canary"), "{vendor:?} {what}: {}", reply.text());
            // Each of them counts as a failure of the vendor, so the breaker opens at last.
            if reply.status == 503 {
                reply.expect_error(503, "SERVICE_UNAVAILABLE");
            } else {
                assert_eq!(reason(reply, vendor), "unavailable", "{vendor:?} {what}");
            }
        }
    }
}

#[tokio::test]
async fn answer_of_ten_megabytes_is_bounded() {
    for vendor in VENDORS {
        let stub = Stub::start(vendor.answer(&"x".repeat(10 << 20)));
        let t = gateway(&stub, &[vendor], &[]).await;
        // Either the text is complete, or the failure is told; never a cut text.
        let reply = chat(&t.user("amy").await, "x").await;
        if reply.status == 200 {
            assert_eq!(reply.json()["content"].as_str().unwrap().len(), 10 << 20);
        } else {
            assert_eq!(reason(reply, vendor), "unavailable");
        }
    }
}

#[tokio::test]
async fn text_of_any_script_arrives_unchanged() {
    let text = "你好 😀 café \u{200d}\u{feff} \\ \" </script>\r\n\u{1}\t end ";
    for vendor in VENDORS {
        assert_eq!(read(vendor, &vendor.body(text, vendor.stop())).await["content"], text);
    }
}
