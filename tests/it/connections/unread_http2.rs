//! HTTP/2 responses whose client opens no window: a connection goes on while one of its streams is reset.

use std::time::Instant;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Request;
use tokio::net::TcpStream;

use super::{LIMIT, impatient, running};
use crate::harness::raw::within;
use crate::harness::{Client, TestApp, eventually};

const MIB: usize = 1 << 20;

/// An HTTP/2 client, whose streams start with this window.
async fn connect(t: &TestApp, window: u32) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(t.url.trim_start_matches("http://")).await.unwrap();
    // The connection's own window never closes.
    let mut builder = Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(64 << 20);
    let (client, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Sends a request and waits for the head of its response.
async fn open(http: &SendRequest<Bytes>, client: &Client, path: &str) -> Result<h2::RecvStream, h2::Error> {
    let mut http = http.clone().ready().await?;
    let request =
        Request::get(format!("http://x/api/v1{path}")).header("authorization", format!("Bearer {}", client.token.as_ref().unwrap()));
    let (response, _) = http.send_request(request.body(()).unwrap(), true)?;
    let response = within("the server answers", response).await?;
    assert_eq!(response.status(), 200);
    Ok(response.into_body())
}

/// Reads a body to its end, with or without opening the window.
async fn read(body: &mut h2::RecvStream, release: bool) -> Result<usize, h2::Error> {
    let mut total = 0;
    while let Some(piece) = within("the stream goes on or ends", body.data()).await {
        let length = piece?.len();
        total += length;
        if release {
            body.flow_control().release_capacity(length)?;
        }
    }
    Ok(total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_stream_without_window_is_reset_alone() {
    let t = impatient(&[]).await;
    let amy = t.user("amy").await;
    let http = connect(&t, 65_535).await;
    let started = Instant::now();
    let mut stalled = open(&http, &amy, "/app/sample/large?mebibytes=2").await.unwrap();
    assert_eq!(running(&t).await, 1);
    let reset = tokio::spawn(async move { read(&mut stalled, false).await.unwrap_err() });
    // Others on the same connection go on meanwhile.
    while !reset.is_finished() {
        assert_eq!(read(&mut open(&http, &amy, "/app/sample/large?mebibytes=1").await.unwrap(), true).await.unwrap(), MIB);
        assert!(read(&mut open(&http, &amy, "/app/users/me").await.unwrap(), true).await.unwrap() > 50);
        tokio::time::sleep(LIMIT / 10).await;
    }
    assert_eq!(reset.await.unwrap().reason(), Some(h2::Reason::CANCEL));
    assert!(started.elapsed() >= LIMIT, "after {:?}", started.elapsed());
    eventually("the place is free", async || running(&t).await == 0).await;
    assert_eq!(read(&mut open(&http, &amy, "/app/sample/large?mebibytes=1").await.unwrap(), true).await.unwrap(), MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_streams_with_window_zero_are_reset() {
    let t = impatient(&[]).await;
    let amy = t.user("amy").await;
    let http = connect(&t, 0).await;
    let mut bodies = Vec::new();
    for _ in 0..10 {
        bodies.push(open(&http, &amy, "/app/sample/large?mebibytes=1").await.unwrap());
        bodies.push(open(&http, &amy, "/app/users/me").await.unwrap());
    }
    assert_eq!(running(&t).await, 10);
    for body in &mut bodies {
        assert_eq!(read(body, true).await.unwrap_err().reason(), Some(h2::Reason::CANCEL));
    }
    eventually("the places are free", async || running(&t).await == 0).await;
    // The connection itself goes on.
    assert!(!open(&http, &amy, "/app/users/me").await.unwrap().is_end_stream());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_window_within_small_body_ends_connection() {
    let t = impatient(&[]).await;
    let amy = t.user("amy").await;
    // The server has given the whole body and the end of its stream to the HTTP/2 layer, so it cannot reset the stream.
    let http = connect(&t, 10).await;
    let mut body = open(&http, &amy, "/app/users/me").await.unwrap();
    assert_eq!(within("a piece arrives", body.data()).await.unwrap().unwrap().len(), 10);
    let ended = within("the connection ends", body.data()).await.unwrap();
    assert!(ended.unwrap_err().reason().is_none(), "the connection is closed, the stream is not reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_slowly_read_answer_is_sent_completely() {
    let t = impatient(&[]).await;
    let amy = t.user("amy").await;
    let http = connect(&t, 65_535).await;
    let mut body = open(&http, &amy, "/app/sample/large?mebibytes=1").await.unwrap();
    let (started, mut total) = (Instant::now(), 0);
    while let Some(piece) = within("a piece arrives", body.data()).await {
        let length = piece.unwrap().len();
        total += length;
        tokio::time::sleep(LIMIT / 20).await;
        body.flow_control().release_capacity(length).unwrap();
    }
    assert_eq!(total, MIB);
    assert!(started.elapsed() > LIMIT, "{:?}", started.elapsed());
    eventually("the place is free", async || running(&t).await == 0).await;
}
