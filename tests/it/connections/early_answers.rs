//! Requests that are answered before their body is read: the connection can be used again, or the response says that it
//! closes.

use std::time::{Duration, Instant};

use http::Method;

use crate::harness::raw::Raw;
use crate::harness::{Backend, Client, TestApp};

/// Bodies up to this size are read away.
const READ_AWAY: usize = 256 * 1024;
const GET: &[u8] = b"GET /api/v1/public/health HTTP/1.1\r\nhost: x\r\n\r\n";

/// Requests with the status that answers them before their body is read.
const EARLY: [(&str, &str, u16); 5] = [
    ("POST", "/api/v1/app/projects", 401),
    ("POST", "/api/v1/nowhere", 404),
    ("PUT", "/api/v1/public/health", 405),
    ("DELETE", "/nowhere", 404),
    // Not an error: a handler that does not want a body.
    ("GET", "/api/v1/public/health", 200),
];

fn head(method: &str, path: &str, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{more}\r\n\r\n").into_bytes()
}

/// The connection serves the next request, unless its last response said that it closes.
async fn goes_on(connection: &mut Raw, what: &str) {
    assert!(connection.try_send(GET).await, "{what}: closed without a word");
    assert_eq!(connection.response().await.status(), 200, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answer_keeps_connection_for_small_bodies() {
    let t = TestApp::start(Backend::Sqlite).await;
    for (method, path, status) in EARLY {
        let mut connection = Raw::open(&t.url).await;
        for size in [2, 1000, 8192, 65_536, 70_000, 200_000, READ_AWAY] {
            let what = format!("{method} {path} with {size} bytes");
            connection.send(&head(method, path, &format!("content-length: {size}"))).await;
            // Lets the server answer before the body arrives.
            tokio::time::sleep(Duration::from_millis(5)).await;
            connection.send(&vec![b'x'; size]).await;
            let response = connection.response().await;
            assert_eq!((response.status(), response.closes()), (status, false), "{what}: {}", response.head);
            goes_on(&mut connection, &what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answer_split_at_every_byte_keeps_connection() {
    let t = TestApp::start(Backend::Sqlite).await;
    let mut connection = Raw::open(&t.url).await;
    let length = head("POST", "/api/v1/app/projects", "content-length: 15");
    let chunked = head("POST", "/api/v1/app/projects", "transfer-encoding: chunked");
    for (head, body) in [(length, &br#"{"name": "abc"}"#[..]), (chunked, b"8\r\n{\"name\":\r\n6\r\n\"abc\"}\r\n0\r\n\r\n")] {
        let request = [&head, body].concat();
        for at in 1..request.len() {
            connection.send(&request[..at]).await;
            if at >= head.len() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            connection.send(&request[at..]).await;
            let response = connection.response().await;
            assert_eq!((response.status(), response.closes()), (401, false), "split at {at}: {}", response.head);
        }
    }
    goes_on(&mut connection, "after all").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answer_to_large_body_says_that_it_closes() {
    let t = TestApp::start(Backend::Sqlite).await;
    for (path, size, status) in [
        ("/api/v1/app/projects", READ_AWAY + 1, 401),
        ("/api/v1/app/projects", 1 << 20, 401),
        ("/api/v1/app/projects", (1 << 20) + 1, 413),
        ("/api/v1/nowhere", 4 << 20, 404),
    ] {
        let mut connection = Raw::open(&t.url).await;
        let started = Instant::now();
        connection.send(&head("POST", path, &format!("content-length: {size}"))).await;
        let mut refused = false;
        for _ in 0..size / 8192 {
            refused |= !connection.try_send(&[b'x'; 8192]).await;
        }
        let response = connection.response().await;
        assert_eq!((response.status(), response.closes()), (status, true), "{size}: {}", response.head);
        assert!(started.elapsed() < Duration::from_secs(2), "the answer does not wait for the body");
        assert!(!refused, "the client could send its body, and read the answer after it");
        assert_eq!(connection.rest().await, b"", "{size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answer_without_body_closes_after_limit() {
    let t = TestApp::start(Backend::Sqlite).await;
    let mut connection = Raw::open(&t.url).await;
    connection.send(&head("POST", "/api/v1/app/projects", "content-length: 2")).await;
    let response = connection.response().await;
    assert_eq!((response.status(), response.closes()), (401, true), "{}", response.head);
    assert_eq!(connection.rest().await, b"");
    // A body of unknown length that does not end.
    let mut connection = Raw::open(&t.url).await;
    connection.send(&head("POST", "/api/v1/app/projects", "transfer-encoding: chunked")).await;
    let chunk = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n"].concat();
    for _ in 0..64 {
        connection.try_send(&chunk).await;
    }
    let response = connection.response().await;
    assert_eq!((response.status(), response.closes()), (401, true), "{}", response.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answer_to_expect_continue_closes_at_once() {
    let t = TestApp::start(Backend::Sqlite).await;
    let amy = t.user("amy").await;
    let mut connection = Raw::open(&t.url).await;
    let started = Instant::now();
    connection.send(&head("POST", "/api/v1/app/projects", "content-length: 2\r\nexpect: 100-continue")).await;
    let response = connection.response().await;
    assert_eq!((response.status(), response.closes()), (401, true), "{}", response.head);
    assert!(started.elapsed() < Duration::from_secs(1), "nobody waits for a body that the client holds back");
    // An accepted one is asked for its body.
    let mut connection = Raw::open(&t.url).await;
    let more = format!("content-length: 15\r\nexpect: 100-continue\r\nauthorization: Bearer {}", amy.token.as_ref().unwrap());
    connection.send(&head("POST", "/api/v1/app/projects", &more)).await;
    assert_eq!(connection.response().await.status(), 100);
    connection.send(br#"{"name": "abc"}"#).await;
    let response = connection.response().await;
    assert_eq!((response.status(), response.closes()), (201, false), "{}", response.head);
    goes_on(&mut connection, "after 201").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answer_429_and_413_while_reading_keep_their_word() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/day"), ("MAX_BODY_BYTES", "1000")]).await;
    let mut connection = Raw::open(&t.url).await;
    for status in [401, 429, 429] {
        connection.send(&head("POST", "/api/v1/app/projects", "content-length: 20")).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        connection.send(&[b'x'; 20]).await;
        let response = connection.response().await;
        assert_eq!((response.status(), response.closes()), (status, false), "{}", response.head);
    }
    // A chunked body above the limit: the rest is read away.
    let body = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n0\r\n\r\n"].concat();
    connection.send(&[head("POST", "/api/v1/public/auth/login", "transfer-encoding: chunked"), body].concat()).await;
    let response = connection.response().await;
    assert!(!response.closes() && [404, 413].contains(&response.status()), "{}", response.head);
    goes_on(&mut connection, "after the chunked body").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answer_leaves_http2_connection_usable() {
    let t = TestApp::start(Backend::Sqlite).await;
    let client = Client::over_http2(&t.url);
    for size in [2, 1000, 65_536, 200_000, READ_AWAY, 1 << 20] {
        for _ in 0..5 {
            let refused = client.call(Method::POST, "/app/projects").body("application/json", vec![b'x'; size]).await;
            assert_eq!(refused.header("connection"), None);
            refused.expect_error(401, "AUTHENTICATION_ERROR");
            client.get("/public/health").await.expect(200);
        }
    }
    let refused = client.call(Method::POST, "/app/projects").body("application/json", vec![b'x'; (1 << 20) + 1]).await;
    refused.expect_error(413, "PAYLOAD_TOO_LARGE");
    client.get("/public/health").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_answer_never_breaks_a_pool_of_connections() {
    let t = TestApp::start(Backend::Sqlite).await;
    let pool = t.anonymous();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for size in [2, 1000, 65_536, 70_000, 200_000, READ_AWAY, READ_AWAY + 1, 1 << 20].repeat(4) {
                    // A stream, so that head and body travel apart.
                    let body = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(vec![b'x'; size])]));
                    let refused = pool.call(Method::POST, "/app/projects").header("content-length", size.to_string());
                    refused.body("application/json", body).await.expect_error(401, "AUTHENTICATION_ERROR");
                    pool.get("/public/health").await.expect(200);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
