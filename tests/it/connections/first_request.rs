//! Connections that send no request, and too many connections of one peer.

use std::time::{Duration, Instant};

use super::{LIMIT, impatient};
use crate::harness::raw::Raw;
use crate::harness::{Backend, TestApp, eventually};
use crate::sample::feature::Sample;

const HEALTH: &[u8] = b"GET /api/v1/public/health HTTP/1.1\r\nhost: x\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_without_request_is_closed_at_limit() {
    let t = impatient(&[]).await;
    let with_settings = [PREFACE, SETTINGS].concat();
    let kinds: [&[u8]; 7] = [b"", b"P", b"PRI * HTTP/2.0", b"G", &HEALTH[..30], PREFACE, &with_settings];
    let started = Instant::now();
    let mut silent = Vec::new();
    for sent in kinds {
        let mut connection = Raw::open(&t.url).await;
        connection.send(sent).await;
        silent.push((sent, connection));
    }
    for (sent, connection) in silent {
        let answer = connection.rest().await;
        assert!(started.elapsed() >= LIMIT, "{sent:?} was closed after {:?}", started.elapsed());
        assert!(!answer.starts_with(b"HTTP/"), "{sent:?} got {:?}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_with_dripping_head_is_closed_at_limit() {
    let t = impatient(&[]).await;
    for first in [&b"GET /"[..], PREFACE] {
        let mut connection = Raw::open(&t.url).await;
        connection.send(first).await;
        let mut dripped = 0;
        // SETTINGS frames, byte by byte, are as good as a path.
        let mut drip = if first == PREFACE { SETTINGS } else { &b"xxxxxxxxx"[..] }.iter().cycle();
        while connection.try_send(&[*drip.next().unwrap()]).await {
            dripped += 1;
            assert!(dripped < 1000, "the connection stays open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_split_at_every_byte_is_served() {
    let t = impatient(&[]).await;
    let mut connection = Raw::open(&t.url).await;
    for byte in HEALTH {
        connection.send(&[*byte]).await;
    }
    assert_eq!(connection.response().await.status(), 200);
    for at in 1..HEALTH.len() {
        connection.send(&HEALTH[..at]).await;
        tokio::task::yield_now().await;
        connection.send(&HEALTH[at..]).await;
        assert_eq!(connection.response().await.status(), 200);
    }
    // Idle after a request: closed as well, by the limit of the next head.
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_head_above_limit_returns_431() {
    let t = TestApp::start(Backend::Sqlite).await;
    let head = |bytes: usize| format!("GET /api/v1/public/health HTTP/1.1\r\nhost: x\r\nx-padding: {}", "x".repeat(bytes)).into_bytes();
    let mut fits = Raw::open(&t.url).await;
    fits.send(&[head(31 * 1024), b"\r\n\r\n".to_vec()].concat()).await;
    assert_eq!(fits.response().await.status(), 200);
    let mut unfinished = Raw::open(&t.url).await;
    unfinished.try_send(&head(115 * 1024)).await;
    let answer = unfinished.rest().await;
    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{:?}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_above_its_limit_is_closed_at_once() {
    let of_three = |limits: &mut omnistack::boot::listener::Limits| limits.per_peer = 3;
    let t = TestApp::with_limits(Backend::Sqlite, &Sample, &[], of_three).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut connection = Raw::open(&t.url).await;
        connection.send(HEALTH).await;
        assert_eq!(connection.response().await.status(), 200);
        open.push(connection);
    }
    assert_eq!(Raw::open(&t.url).await.rest().await, b"");
    open.pop();
    eventually("another connection is served", async || {
        let mut connection = Raw::open(&t.url).await;
        connection.try_send(HEALTH).await && connection.is_answered().await
    })
    .await;

    // A trusted proxy brings the connections of many clients.
    let t = TestApp::with_limits(Backend::Sqlite, &Sample, &[("TRUSTED_PROXIES", "127.0.0.1")], of_three).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut connection = Raw::open(&t.url).await;
        connection.send(HEALTH).await;
        assert_eq!(connection.response().await.status(), 200);
        open.push(connection);
    }
}
