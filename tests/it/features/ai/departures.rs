//! Clients that read slowly or leave: the vendor is slowed down or left, and its tokens are counted.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncReadExt;

use super::stub::{Script, Step, Stub};
use super::vendors::{VENDORS, Vendor};
use super::{gateway, metrics, sum, tokens};
use crate::harness::raw::Raw;
use crate::harness::{Client, TestApp, eventually};
use Vendor::{Anthropic, OpenAi};

/// How long the vendor may be kept after the client has gone.
const LEFT: Duration = Duration::from_secs(1);

fn request(client: &Client, prompt: &str) -> Vec<u8> {
    let body = json!({"prompt": prompt, "stream": true}).to_string();
    let token = client.token.as_deref().unwrap();
    format!(
        "POST /api/v1/app/ai/chat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A slow reader slows the vendor: what is on the way is bounded by buffers of sockets, not by the stream's length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_slows_the_vendor() {
    const WHOLE: usize = 64 << 20;
    let piece = OpenAi.piece(&"x".repeat(16 * 1024));
    let pieces = WHOLE / piece.len();
    let mut script = Script::stream().piece(OpenAi.opening());
    for _ in 0..pieces {
        script = script.piece(piece.clone());
    }
    let stub = Stub::start(script.piece(OpenAi.ending("stop")).then(Step::End));
    let t = gateway(&stub, &[OpenAi], &[("AI_TIMEOUT_SECONDS", "20")]).await;
    let amy = t.user("amy").await;
    let mut connection = Raw::open(&t.url).await;
    connection.send(&request(&amy, "x")).await;
    let mut head = [0; 1024];
    assert!(connection.stream.read(&mut head).await.unwrap() > 0);
    // Until nothing more is taken from the vendor.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let sent = stub.only().sent;
        if sent == before {
            break;
        }
        before = sent;
    }
    assert!(before < 24 << 20, "{before} bytes were taken for a client that reads nothing");
    assert!(stub.only().closed.is_none());
    // Once the client reads again, the stream goes on.
    let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
    while total < before + (4 << 20) {
        total += crate::harness::raw::within("the stream goes on", connection.stream.read(&mut buffer)).await.unwrap();
    }
    drop(connection);
    eventually("the vendor is left", async || stub.only().closed.is_some()).await;
}

/// Opens a stream and reads its first piece.
async fn begun(amy: &Client) -> reqwest::Response {
    let mut open = super::soon("head", amy.post("/app/ai/chat", json!({"prompt": "x".repeat(400), "stream": true})).open()).await;
    assert_eq!(open.status(), 200);
    super::soon("piece", open.chunk()).await.unwrap().unwrap();
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vendor_is_left_when_client_leaves_stream() {
    for vendor in VENDORS {
        let text = "y".repeat(400);
        for step in [Step::Hang, Step::Forever(vendor.ping().into(), Duration::from_millis(20))] {
            let stub = Stub::start(Script::stream().piece(vendor.opening() + &vendor.piece(&text)).then(step));
            let t = gateway(&stub, &[vendor], &[]).await;
            let open = begun(&t.user("amy").await).await;
            let left = Instant::now();
            drop(open);
            eventually("the vendor is left", async || stub.only().closed.is_some()).await;
            let took = stub.only().closed.unwrap() - left;
            assert!(took < LEFT, "{vendor:?}: {took:?}");
            // The tokens are counted: the vendor's figure where it gave one, else a quarter of the bytes.
            eventually("tokens are counted", async || tokens(&t, vendor).await.1 > 0).await;
            let (prompt, completion) = tokens(&t, vendor).await;
            assert!((99..=101).contains(&completion), "{vendor:?}: {completion}");
            if vendor == Anthropic {
                assert_eq!(prompt, 12, "the vendor told them at the start");
            } else {
                assert!((95..=120).contains(&prompt), "{vendor:?}: {prompt}");
            }
            assert_eq!(requests(&t, vendor).await, 1);
        }
    }
}

async fn requests(t: &TestApp, vendor: Vendor) -> u64 {
    sum(&metrics(t).await, "llm_requests_total", &[("provider", vendor.name())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vendor_is_left_when_client_leaves_before_first_piece() {
    for vendor in VENDORS {
        for script in [Script::hang(), Script::stream().piece(vendor.opening() + "\n").then(Step::Hang)] {
            let stub = Stub::start(script);
            let t = gateway(&stub, &[vendor], &[]).await;
            let amy = t.user("amy").await;
            let call = tokio::spawn(async move { amy.post("/app/ai/chat", json!({"prompt": "x", "stream": true})).open().await });
            eventually("the vendor is called", async || stub.calls() == 1).await;
            let left = Instant::now();
            call.abort();
            eventually("the vendor is left", async || stub.only().closed.is_some()).await;
            let took = stub.only().closed.unwrap() - left;
            assert!(took < LEFT, "{vendor:?}: {took:?}");
            eventually("the request is counted", async || requests(&t, vendor).await == 1).await;
            assert_eq!(stub.calls(), 1, "a caller that left causes no retry");
        }
    }
}

/// The vendor bills a complete answer whether or not anyone waits for it. The call goes on, or its tokens are estimated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completion_is_counted_when_client_leaves() {
    for vendor in VENDORS {
        let gate = std::sync::Arc::new(tokio::sync::Notify::new());
        let mut script = vendor.answer("Hi");
        script.0.insert(0, Step::Gate(gate.clone()));
        let stub = Stub::start(script);
        let t = gateway(&stub, &[vendor], &[]).await;
        let amy = t.user("amy").await;
        let call = tokio::spawn(async move { super::chat(&amy, &"x".repeat(400)).await });
        eventually("the vendor is called", async || stub.calls() == 1).await;
        call.abort();
        let _ = call.await;
        gate.notify_one();
        eventually("it is counted", async || requests(&t, vendor).await == 1 && tokens(&t, vendor).await.0 > 0).await;
        let (prompt, _) = tokens(&t, vendor).await;
        assert!(prompt == 12 || (95..=120).contains(&prompt), "{vendor:?}: {prompt}");
    }
}

/// The place in the pool of streams is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn left_streams_end_their_requests() {
    let stub = Stub::start(Script::stream().piece(OpenAi.opening() + &OpenAi.piece("Hi")).then(Step::Hang));
    let t = gateway(&stub, &[OpenAi], &[]).await;
    let amy = t.user("amy").await;
    let labels = [("endpoint", "/api/v1/app/ai/chat")];
    let running = async || sum(&metrics(&t).await, "http_requests_in_progress", &labels);
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(begun(&amy).await);
    }
    assert_eq!(running().await, 10);
    drop(open);
    eventually("all have ended", async || running().await == 0).await;
    eventually("the vendor is left by all", async || stub.asked().iter().all(|asked| asked.closed.is_some())).await;
    eventually("all are counted", async || requests(&t, OpenAi).await == 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_over_http2_is_left_with_its_stream() {
    let stub = Stub::start(Script::stream().piece(OpenAi.opening() + &OpenAi.piece("Hi")).then(Step::Hang));
    let t = gateway(&stub, &[OpenAi], &[]).await;
    let token = t.user("amy").await.token;
    let mut amy = Client::over_http2(&t.url);
    amy.token = token;
    let open = begun(&amy).await;
    let left = Instant::now();
    drop(open);
    eventually("the vendor is left", async || stub.only().closed.is_some()).await;
    assert!(stub.only().closed.unwrap() - left < LEFT);
    // The connection itself is still open.
    amy.get("/app/users/me").await.expect(200);
}
