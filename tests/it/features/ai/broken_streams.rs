//! Streams that fail: before the first piece they are a 502, after it one `event: error` without `[DONE]`.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::stub::{Script, Step, Stub};
use super::vendors::{VENDORS, Vendor};
use super::{IMPATIENT, broken_by, gateway, reason, soon, stream, texts};
use crate::harness::{Reply, eventually};
use Vendor::{Anthropic, Gemini, OpenAi};

/// The answer to a stream, which must come soon.
async fn answer(vendor: Vendor, what: &str, script: Script, vars: &[(&str, &str)]) -> Reply {
    let stub = Stub::start(script);
    let t = gateway(&stub, &[vendor], vars).await;
    soon(&format!("{vendor:?} {what}"), stream(&t.user("amy").await, "x")).await
}

/// Events before the first text and one text.
fn begun(vendor: Vendor) -> String {
    vendor.opening() + &vendor.piece("Hi ") + &vendor.piece("there")
}

/// Ends of a stream without the vendor's own end.
fn ends(vendor: Vendor) -> Vec<(&'static str, Vec<Step>)> {
    let chunk = |text: &str| Step::Chunk(text.to_owned().into());
    let bytes = |bytes: &'static [u8]| Step::Chunk(bytes.into());
    vec![
        ("clean end", vec![Step::End]),
        ("cut", vec![Step::Close]),
        ("cut inside a chunk", vec![Step::Raw("ff\r\ndata: ".into()), Step::Close]),
        ("broken chunk", vec![Step::Raw("zz\r\n".into()), Step::Hang]),
        ("end inside an event", vec![chunk(vendor.piece("lost").trim_end_matches('\n')), Step::End]),
        ("invalid JSON", vec![chunk("data: {\"canary\n\n"), Step::Hang]),
        ("other JSON", vec![chunk("data: [\"canary\"]\n\n"), Step::End]),
        ("page", vec![chunk("<html>canary</html>\n\n"), Step::End]),
        ("invalid UTF-8", vec![bytes(b"data: {\"id\": \"\xff\xfe\"}\n\n"), Step::Hang]),
        ("end inside a character", vec![bytes(b"data: \"\xe4\xbd"), Step::End]),
        ("overloaded", vec![chunk(&vendor.overloaded()), Step::Hang]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_breaks_after_text_ends_with_error_event() {
    for vendor in VENDORS {
        for (what, steps) in ends(vendor) {
            let script = steps.into_iter().fold(Script::stream().piece(begun(vendor)), Script::then);
            let reply = answer(vendor, what, script, &[]).await;
            let body = reply.text();
            assert!(!body.contains("canary") && !body.contains('\u{fffd}'), "{vendor:?} {what}: {body}");
            let (texts, reason) = broken_by(reply, vendor);
            assert_eq!((texts.concat().as_str(), reason.as_str()), ("Hi there", "unavailable"), "{vendor:?} {what}");
            assert_eq!((body.matches("event: error").count(), body.contains("[DONE]")), (1, false), "{vendor:?} {what}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_breaks_before_text_is_502() {
    let cases = VENDORS.into_iter().flat_map(|vendor| ends(vendor).into_iter().map(move |(what, steps)| (vendor, what, steps)));
    let cases = cases.map(|(vendor, what, steps)| {
        async move {
            let opening = format!(": hello\n\n{}", vendor.opening());
            let script = steps.into_iter().fold(Script::stream().piece(opening), Script::then);
            let reply = answer(vendor, what, script, &[]).await;
            assert!(!reply.text().contains("canary"), "{vendor:?} {what}: {}", reply.text());
            assert_eq!(reply.header("content-type"), Some("application/json"), "{vendor:?} {what}");
            assert_eq!(reason(reply, vendor), "unavailable", "{vendor:?} {what}");
        }
    });
    join_all(cases).await;
}

#[tokio::test]
async fn error_event_holds_the_envelope() {
    let script = Script::stream().piece(begun(Anthropic) + &Anthropic.overloaded()).then(Step::End);
    let reply = answer(Anthropic, "overloaded", script, &[]).await;
    let id = reply.header("x-request-id").unwrap().to_owned();
    let body = reply.text();
    let (_, rest) = body.split_once("event: error\ndata: ").unwrap_or_else(|| panic!("{body}"));
    assert_eq!((rest.matches('\n').count(), rest.ends_with("\n\n")), (2, true), "one line of data, and nothing behind it: {rest:?}");
    let envelope: serde_json::Value = serde_json::from_str(rest.trim_end()).unwrap();
    assert_eq!(envelope["error"]["code"], "EXTERNAL_SERVICE_ERROR");
    assert_eq!(envelope["error"]["details"], json!({"service": "anthropic", "reason": "unavailable"}));
    assert!(envelope["error"].get("request_id").is_none_or(|found| found == &id), "{envelope}");
}

#[tokio::test]
async fn overloaded_inside_stream_before_text_is_tried_again() {
    for vendor in VENDORS {
        let failing = Script::stream().piece(vendor.opening() + &vendor.overloaded()).then(Step::End);
        let stub = Stub::start(failing.clone());
        stub.answers([failing.clone(), failing.clone(), vendor.streamed(&["Hi"])]);
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        assert_eq!(texts(stream(&amy, "x").await), ["Hi"], "{vendor:?}");
        assert_eq!(stub.calls(), 3);
        stub.answer(failing);
        assert_eq!(reason(stream(&amy, "x").await, vendor), "unavailable");
        assert_eq!(stub.calls(), 6, "{vendor:?}");
    }
}

#[tokio::test]
async fn broken_stream_is_not_tried_again_after_text() {
    for vendor in VENDORS {
        let stub = Stub::start(Script::stream().piece(begun(vendor) + &vendor.overloaded()).then(Step::End));
        let t = gateway(&stub, &[vendor], &[]).await;
        assert_eq!(broken_by(stream(&t.user("amy").await, "x").await, vendor).0.concat(), "Hi there");
        assert_eq!(stub.calls(), 1, "{vendor:?}");
    }
}

/// Blanks and empty deltas are pieces for nobody: the stream can still be tried again.
#[tokio::test]
async fn empty_pieces_are_no_first_piece() {
    for vendor in VENDORS {
        let failing = Script::stream().piece(vendor.opening() + &vendor.piece("")).then(Step::Close);
        let stub = Stub::start(failing.clone());
        stub.answers([failing, vendor.streamed(&["Hi"])]);
        let t = gateway(&stub, &[vendor], &[]).await;
        assert_eq!(texts(stream(&t.user("amy").await, "x").await), ["Hi"], "{vendor:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_before_first_piece_is_a_timeout() {
    // The time for the first piece is the shorter one.
    let vars = [("AI_FIRST_TOKEN_SECONDS", "1"), ("AI_TIMEOUT_SECONDS", "30")];
    let cases = VENDORS.into_iter().flat_map(|vendor| {
        let pings = Step::Forever(vendor.ping().into(), Duration::from_millis(20));
        let slow = Step::Forever(":".into(), Duration::from_millis(20));
        [
            ("before the head", Script::hang()),
            ("before the first piece", Script::stream().then(Step::Hang)),
            ("after the opening", Script::stream().piece(vendor.opening() + "\n").then(Step::Hang)),
            ("endless pings", Script::stream().piece(vendor.opening() + "\n").then(pings)),
            ("slow bytes", Script::stream().then(slow)),
        ]
        .map(|(what, script)| {
            async move {
                let started = Instant::now();
                let reply = answer(vendor, what, script, &vars).await;
                assert_eq!(reason(reply, vendor), "timeout", "{vendor:?} {what}");
                assert!(started.elapsed() < Duration::from_secs(4), "{vendor:?} {what}: {:?}", started.elapsed());
            }
        })
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_between_pieces_breaks_the_stream() {
    let cases = VENDORS.into_iter().map(|vendor| {
        async move {
            for (what, step) in [("silence", Step::Hang), ("inside an event", Step::Chunk("data: {".into()))] {
                let stub = Stub::start(Script::stream().piece(begun(vendor)).then(step).then(Step::Hang));
                let t = gateway(&stub, &[vendor], &IMPATIENT).await;
                let reply = soon(what, stream(&t.user("amy").await, "x")).await;
                let (texts, reason) = broken_by(reply, vendor);
                assert_eq!((texts.concat().as_str(), reason.as_str()), ("Hi there", "timeout"), "{vendor:?} {what}");
                eventually("the vendor is left", async || stub.only().closed.is_some()).await;
                assert_eq!(stub.calls(), 1);
            }
        }
    });
    join_all(cases).await;
}

/// A stream may last longer than the time of a silence, as long as pieces come.
#[tokio::test]
async fn slow_stream_with_pieces_is_complete() {
    let mut script = Script::stream().piece(OpenAi.opening());
    for _ in 0..5 {
        script = script.pause(400).piece(OpenAi.piece("x"));
    }
    let script = script.piece(OpenAi.ending("stop")).then(Step::End);
    assert_eq!(texts(answer(OpenAi, "slow", script, &IMPATIENT).await).concat(), "xxxxx");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_without_end_end_with_an_error() {
    let vars = [("AI_FIRST_TOKEN_SECONDS", "1"), ("AI_TIMEOUT_SECONDS", "1"), ("AI_STREAM_MAX_SECONDS", "2")];
    let cases = VENDORS.map(|vendor| {
        async move {
            let pings = Step::Forever(vendor.ping().into(), Duration::from_millis(20));
            let reply = answer(vendor, "pings", Script::stream().piece(begun(vendor)).then(pings), &vars).await;
            assert_eq!(broken_by(reply, vendor), (vec!["Hi ".to_owned(), "there".to_owned()], "timeout".to_owned()), "{vendor:?}");
        }
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_above_its_time_as_a_whole_is_ended() {
    let vars = [("AI_STREAM_MAX_SECONDS", "1")];
    let cases = VENDORS.map(|vendor| {
        async move {
            let pieces = Step::Forever(vendor.piece("x").into(), Duration::from_millis(50));
            let started = Instant::now();
            let reply = answer(vendor, "endless", Script::stream().piece(vendor.opening() + "\n").then(pieces), &vars).await;
            let (texts, reason) = broken_by(reply, vendor);
            assert!(texts.len() > 3 && reason == "timeout", "{vendor:?}: {} {reason}", texts.len());
            assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        }
    });
    join_all(cases).await;
}

/// After its end, a vendor that keeps the connection open holds up nobody.
#[tokio::test]
async fn stream_that_stays_open_after_its_end_is_done() {
    for vendor in VENDORS {
        let script = Script::stream().piece(vendor.events(&["Hi"])).then(Step::Hang);
        let reply = answer(vendor, "open", script, &[("AI_TIMEOUT_SECONDS", "2")]).await;
        assert_eq!(texts(reply), ["Hi"], "{vendor:?}");
    }
}

#[tokio::test]
async fn blocked_text_ends_a_gemini_stream() {
    let blocked = json!({"candidates": [{"finishReason": "SAFETY", "index": 0}], "usageMetadata": {"promptTokenCount": 12}});
    let script = Script::events(Gemini.piece("Hi") + &format!("data: {blocked}\n\n"));
    assert_eq!(texts(answer(Gemini, "blocked", script, &[]).await), ["Hi"]);
}
