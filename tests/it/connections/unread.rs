//! Responses whose client does not read them.

use std::time::Instant;

use tokio::io::AsyncReadExt;

use super::{LIMIT, impatient, running};
use crate::harness::raw::Raw;
use crate::harness::{Client, TestApp, eventually};

fn request(client: &Client, mebibytes: usize) -> Vec<u8> {
    let token = client.token.as_deref().unwrap();
    format!("GET /api/v1/app/sample/large?mebibytes={mebibytes} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
}

/// A connection with a response that nobody reads.
async fn unread(t: &TestApp, client: &Client, mebibytes: usize) -> Raw {
    let mut connection = Raw::open(&t.url).await;
    connection.send(&request(client, mebibytes)).await;
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_http1_answer_ends_its_connection() {
    let t = impatient(&[]).await;
    let amy = t.user("amy").await;
    let started = Instant::now();
    let connection = unread(&t, &amy, 16).await;
    eventually("the response holds its place", async || running(&t).await == 1).await;
    eventually("the place is free", async || running(&t).await == 0).await;
    assert!(started.elapsed() >= LIMIT, "after {:?}", started.elapsed());
    let sent = connection.rest().await.len();
    assert!(sent < 16 << 20, "{sent} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slowly_read_http1_answer_is_sent_completely() {
    let t = impatient(&[]).await;
    let amy = t.user("amy").await;
    let mut connection = unread(&t, &amy, 16).await;
    let (started, mut total, mut buffer) = (Instant::now(), 0, vec![0; 1 << 20]);
    while total < 16 << 20 {
        // Slower as a whole than the limit of one write, but never without progress for that long.
        tokio::time::sleep(LIMIT / 8).await;
        let mut taken = 0;
        while taken < 1 << 20 && total + taken < 16 << 20 {
            let read = connection.stream.read(&mut buffer[taken..]).await.unwrap();
            assert!(read > 0, "the response ends after {} bytes", total + taken);
            taken += read;
        }
        total += taken;
    }
    assert!(started.elapsed() > LIMIT, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers_above_budget_are_refused() {
    let t = TestApp::with_feature(crate::harness::Backend::Sqlite, &crate::sample::feature::Sample, &[]).await;
    let amy = t.user("amy").await;
    let mut held = Vec::new();
    // Pages of zeros that are never written take no memory, but fill the budget of 256 MiB.
    for _ in 0..8 {
        held.push(unread(&t, &amy, 32).await);
    }
    eventually("all are answered", async || running(&t).await == 8).await;
    let refused = amy.get("/app/sample/large?mebibytes=1").await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.expect_error(503, "SERVICE_UNAVAILABLE");
    // Small responses are not counted, and files are sent in pieces.
    amy.get("/app/users/me").await.expect(200);
    held.pop();
    eventually("memory is free again", async || running(&t).await == 7).await;
    assert_eq!(amy.get("/app/sample/large?mebibytes=1").await.body.len(), 1 << 20);
}
