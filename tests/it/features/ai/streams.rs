//! Streams that end well: the exact bytes and headers of the answer, and what of a vendor's stream is left out.

use serde_json::{Value, json};

use super::stub::{Script, Step, Stub};
use super::vendors::{RECORDED, VENDORS, Vendor};
use super::{Event, events, gateway, stream, texts, tokens};
use crate::harness::Reply;
use Vendor::{Anthropic, Gemini, OpenAi};

/// The answer to a stream of this vendor.
async fn answer(vendor: Vendor, script: Script) -> Reply {
    let stub = Stub::start(script);
    let t = gateway(&stub, &[vendor], &[]).await;
    stream(&t.user("amy").await, "x").await
}

/// What the recorded streams become.
pub const EXPECTED: &str = "data: 你好\n\ndata:  😀 café\n\ndata: one\ndata: two\ndata: three\ndata: four\n\n\
                            data: \ndata: \ndata: - end\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn recorded_stream_becomes_exact_events() {
    for vendor in VENDORS {
        let stub = Stub::start(Script::events(vendor.recorded()));
        let t = gateway(&stub, &[vendor], &[]).await;
        assert_eq!(stream(&t.user("amy").await, "x").await.expect_text(200), EXPECTED, "{vendor:?}");
        assert_eq!(tokens(&t, vendor).await, (12, 34), "{vendor:?}");
    }
}

#[tokio::test]
async fn stream_has_headers_of_an_event_stream() {
    for vendor in VENDORS {
        let stub = Stub::start(vendor.streamed(&["Hi"]));
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        for (path, body) in [
            ("/app/ai/chat", json!({"prompt": "x", "stream": true})),
            ("/app/ai/completions", json!({"messages": [{"role": "user", "content": "x"}], "stream": true})),
        ] {
            let reply = amy.post(path, body).header("accept-encoding", "gzip").await;
            assert!(reply.header("content-type").unwrap().starts_with("text/event-stream"), "{:?}", reply.headers);
            assert_eq!((reply.header("cache-control"), reply.header("x-accel-buffering")), (Some("no-cache"), Some("no")));
            assert_eq!((reply.header("content-encoding"), reply.header("content-length")), (None, None), "streams are not compressed");
            assert!(reply.header("x-request-id").is_some() && reply.header("x-ratelimit-limit").is_some());
            assert_eq!(texts(reply), ["Hi"]);
        }
    }
}

#[tokio::test]
async fn pieces_keep_blanks_and_split_at_line_breaks() {
    for (pieces, bytes) in [
        (&[" leading", "trailing ", "  "][..], "data:  leading\n\ndata: trailing \n\ndata:   \n\n"),
        (&["a\nb", "a\r\nb", "a\rb"], "data: a\ndata: b\n\ndata: a\ndata: b\n\ndata: a\ndata: b\n\n"),
        (&["\n"], "data: \ndata: \n\n"),
        (&["\r\n\r\n"], "data: \ndata: \ndata: \n\n"),
        (&["a\r\r\nb"], "data: a\ndata: \ndata: b\n\n"),
        (&["end\n"], "data: end\ndata: \n\n"),
        // What looks like the syntax of a stream is text.
        (&["event: error", "data: x", ": comment", "id: 1\nretry: 0"], "data: event: error\n\ndata: data: x\n\ndata: : comment\n\ndata: id: 1\ndata: retry: 0\n\n"),
        (&["", "a", "", "b", ""], "data: a\n\ndata: b\n\n"),
        // Separators that are no line breaks of event streams.
        (&["a\u{2028}b\u{85}c\u{b}d\u{c}e\u{feff}"], "data: a\u{2028}b\u{85}c\u{b}d\u{c}e\u{feff}\n\n"),
        (&["\\n \u{0} \"quoted\" \u{1f468}\u{200d}\u{1f469}"], "data: \\n \u{0} \"quoted\" \u{1f468}\u{200d}\u{1f469}\n\n"),
    ] {
        for vendor in VENDORS {
            let body = answer(vendor, vendor.streamed(pieces)).await.expect_text(200);
            assert_eq!(body, format!("{bytes}data: [DONE]\n\n"), "{vendor:?} {pieces:?}");
        }
    }
}

#[tokio::test]
async fn piece_that_reads_done_becomes_two_events() {
    for vendor in VENDORS {
        let found = events(&answer(vendor, vendor.streamed(&["a", "[DONE]", "b"])).await.expect_text(200));
        let ends = found.iter().filter(|event| event.data == "[DONE]").count();
        assert_eq!((found.len(), ends, found.last()), (5, 1, Some(&Event::text("[DONE]"))), "{found:?}");
        let text: String = found[..4].iter().map(|event| event.data.as_str()).collect();
        assert_eq!(text, "a[DONE]b");
        // With a blank or in a longer piece it is a text like others.
        let reply = answer(vendor, vendor.streamed(&[" [DONE]", "[DONE]."])).await;
        assert_eq!(reply.expect_text(200), "data:  [DONE]\n\ndata: [DONE].\n\ndata: [DONE]\n\n");
    }
}

#[tokio::test]
async fn piece_is_sent_before_the_next_one_comes() {
    for vendor in VENDORS {
        let (first, second) = (std::sync::Arc::new(tokio::sync::Notify::new()), std::sync::Arc::new(tokio::sync::Notify::new()));
        let script = Script::stream()
            .piece(vendor.opening() + &vendor.piece("one"))
            .then(Step::Gate(first.clone()))
            .piece(vendor.piece("two"))
            .then(Step::Gate(second.clone()))
            .piece(vendor.ending(vendor.stop()))
            .then(Step::End);
        let stub = Stub::start(script);
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        let mut open = super::soon("head", amy.post("/app/ai/chat", json!({"prompt": "x", "stream": true})).open()).await;
        for (expected, gate) in [("data: one\n\n", Some(&first)), ("data: two\n\n", Some(&second)), ("data: [DONE]\n\n", None)] {
            let piece = super::soon(expected, open.chunk()).await.unwrap().unwrap();
            assert_eq!(piece, expected, "{vendor:?}");
            if let Some(gate) = gate {
                gate.notify_one();
            }
        }
        assert_eq!(super::soon("end", open.chunk()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn end_of_openai_needs_reason_but_not_done() {
    let whole = OpenAi.events(&["Hi"]);
    let without_done = whole.replace("data: [DONE]\n\n", "");
    let reply = answer(OpenAi, Script::events(without_done)).await;
    assert_eq!(texts(reply), ["Hi"], "the reason is the end");
    // Servers that send no usage chunk.
    let chunks: Vec<_> = whole.split_inclusive("\n\n").filter(|chunk| !chunk.contains("\"prompt_tokens\"")).collect();
    assert_eq!(texts(answer(OpenAi, Script::events(chunks.concat())).await), ["Hi"]);
}

#[tokio::test]
async fn openai_chunks_without_choices_are_passed_over() {
    // Azure's first chunk, vLLM's last one, and chunks of unknown kinds.
    let first = json!({"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]});
    for usage in [json!({"choices": []}), json!({"choices": null}), json!({})] {
        let mut last: Value = usage;
        last["usage"] = json!({"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46});
        let finish = json!({"choices": [{"index": 0, "delta": {"content": null}, "finish_reason": "stop"}], "usage": null});
        let text = format!(
            "data: {first}\n\n{}{}data: {{\"object\": \"unknown\"}}\n\ndata: {finish}\n\ndata: {last}\n\ndata: [DONE]\n\n",
            OpenAi.opening(),
            OpenAi.piece("Hi")
        );
        let stub = Stub::start(Script::events(text));
        let t = gateway(&stub, &[OpenAi], &[]).await;
        assert_eq!(texts(stream(&t.user("amy").await, "x").await), ["Hi"]);
        assert_eq!(tokens(&t, OpenAi).await, (12, 34));
    }
}

#[tokio::test]
async fn unknown_events_of_anthropic_are_passed_over() {
    let unknown = "event: vendor_news\ndata: {\"type\": \"vendor_news\", \"delta\": {\"type\": \"text_delta\", \"text\": \"no\"}}\n\n";
    let delta = "event: content_block_delta\ndata: {\"type\": \"content_block_delta\", \"index\": 0, \"delta\": {\"type\": \"input_json_delta\", \"partial_json\": \"no\"}}\n\n";
    let text = [unknown, &Anthropic.opening(), delta, &Anthropic.piece("Hi"), unknown, &Anthropic.ping(), &Anthropic.ending("refusal")].concat();
    assert_eq!(texts(answer(Anthropic, Script::events(text)).await), ["Hi"]);
    // The end of a message may come as its reason alone.
    let text = Anthropic.events(&["Hi"]).replace("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "");
    assert_eq!(texts(answer(Anthropic, Script::events(text)).await), ["Hi"]);
}

#[tokio::test]
async fn gemini_text_beside_its_reason_is_sent() {
    let chunk = json!({
        "candidates": [{"content": {"parts": [{"text": "hidden", "thought": true}, {"text": "a"}, {"text": "b"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 30, "thoughtsTokenCount": 4},
    });
    let stub = Stub::start(Script::events(format!("data: {chunk}\n\n")));
    let t = gateway(&stub, &[Gemini], &[]).await;
    assert_eq!(texts(stream(&t.user("amy").await, "x").await).concat(), "ab");
    assert_eq!(tokens(&t, Gemini).await, (12, 34));
    // A reason in a chunk before the last one: the figures come later.
    let text = Gemini.events(&["Hi"]) + "data: {\"usageMetadata\": {\"promptTokenCount\": 12, \"candidatesTokenCount\": 40}}\n\n";
    let stub = Stub::start(Script::events(text));
    let t = gateway(&stub, &[Gemini], &[]).await;
    assert_eq!(texts(stream(&t.user("amy").await, "x").await), ["Hi"]);
    assert_eq!(tokens(&t, Gemini).await, (12, 40), "figures are cumulative: the last one wins");
}

#[tokio::test]
async fn cumulative_figures_are_not_summed() {
    let delta = |tokens: u64| {
        let data = json!({"type": "message_delta", "delta": {"stop_reason": null}, "usage": {"output_tokens": tokens}});
        format!("event: message_delta\ndata: {data}\n\n")
    };
    let text = [Anthropic.opening(), delta(5), Anthropic.piece("Hi"), delta(20), Anthropic.ending("end_turn")].concat();
    let stub = Stub::start(Script::events(text));
    let t = gateway(&stub, &[Anthropic], &[]).await;
    assert_eq!(texts(stream(&t.user("amy").await, "x").await), ["Hi"]);
    assert_eq!(tokens(&t, Anthropic).await, (12, 34));
}

#[tokio::test]
async fn huge_event_is_sent_or_told() {
    for vendor in VENDORS {
        let text = "你".repeat(100_000);
        assert_eq!(texts(answer(vendor, vendor.streamed(&[&text])).await), [text], "300 kB, {vendor:?}");
        // 10 MB in one event: either complete or a failure, and never an unbounded buffer.
        let reply = answer(vendor, vendor.streamed(&[&"x".repeat(10 << 20)])).await;
        if reply.status == 200 {
            assert_eq!(texts(reply).concat().len(), 10 << 20);
        } else {
            assert_eq!(super::reason(reply, vendor), "unavailable");
        }
    }
}

/// A vendor that answers a request for a stream with a complete answer, as some compatible servers do.
#[tokio::test]
async fn answer_without_stream_is_not_done_silently() {
    for vendor in VENDORS {
        let reply = answer(vendor, vendor.answer("Hi")).await;
        if reply.status == 200 {
            assert_eq!(texts(reply), ["Hi"]);
        } else {
            assert_eq!(super::reason(reply, vendor), "unavailable");
        }
    }
}

#[test]
fn recorded_pieces_are_those_of_the_files() {
    for vendor in VENDORS {
        for piece in RECORDED {
            let text = serde_json::to_string(piece).unwrap().replace('é', "\\u00e9");
            assert!(vendor.recorded().contains(&text), "{vendor:?} {text}");
        }
    }
}
