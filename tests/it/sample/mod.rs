//! A feature in one folder that uses everything: the server serves it, documents it and guards it, and nothing outside of
//! this folder knows it.

pub mod feature;
mod routes;
mod socket;

use chrono::TimeDelta;
use http::Method;
use omnistack::boot::router;
use serde_json::json;

use crate::contract;
use crate::harness::tokens::claims;
use crate::harness::{Backend, Call, Client, SECRET, TestApp, eventually};
use feature::{COOKIE, Sample};
use socket::Socket;

crate::on_both_backends![sample_routes_enforce_their_access_level, sample_webhook_runs_its_job, sample_part_is_in_export];

async fn server(b: Backend, vars: &[(&str, &str)]) -> TestApp {
    TestApp::with_feature(b, &Sample, vars).await
}

/// A webhook with the signature of `signed`.
fn webhook(client: &Client, bytes: &'static [u8], signed: &[u8]) -> Call {
    client
        .call(Method::POST, "/public/sample/webhook")
        .body("application/octet-stream", bytes)
        .header("x-sample-signature", routes::signature(signed))
}

async fn sample_routes_enforce_their_access_level(b: Backend) {
    let t = server(b, &[]).await;
    contract::enforces_access_levels(&t).await;
}

async fn sample_webhook_runs_its_job(b: Backend) {
    let t = server(b, &[]).await;
    let anybody = t.anonymous();
    webhook(&anybody, b"{ }", b"{ }").await.expect(204);
    webhook(&anybody, b"{}", b"{ }").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.run_jobs().await;
    let page = anybody.get("/public/metrics").await.expect_text(200);
    for kind in ["job", "webhook"] {
        assert!(page.contains(&format!("sample_events_total{{kind=\"{kind}\"}} 1")), "{kind}: {page}");
    }
}

async fn sample_part_is_in_export(b: Backend) {
    let t = server(b, &[]).await;
    let amy = t.user("amy").await;
    let (id, _) = t.run_function("export_user_data", json!({"user_id": "amy"})).await.unwrap();
    assert_eq!(amy.get(&format!("/app/users/me/export/{id}")).await.expect(200)["sample"], json!({"of": "amy"}));
}

#[tokio::test]
async fn sample_budget_has_its_own_variable() {
    let t = server(Backend::Sqlite, &[("RATE_LIMIT_SAMPLE", "2/minute")]).await;
    let anybody = t.anonymous();
    for _ in 0..2 {
        webhook(&anybody, b"{ }", b"{ }").await.expect(204);
    }
    webhook(&anybody, b"{ }", b"{ }").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    anybody.get("/public/auth/config").await.expect(200);
}

#[tokio::test]
async fn sample_webhook_body_above_its_limit_returns_413() {
    let t = server(Backend::Sqlite, &[]).await;
    webhook(&t.anonymous(), &[b'x'; 1025], b"").await.expect_error(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn sample_webhook_with_content_encoding_returns_415() {
    let t = server(Backend::Sqlite, &[]).await;
    let compressed = webhook(&t.anonymous(), b"{ }", b"{ }").header("content-encoding", "gzip").await;
    compressed.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    // The signed bytes are those that were sent: a byte order mark is one of them.
    webhook(&t.anonymous(), b"\xEF\xBB\xBF{}", b"\xEF\xBB\xBF{}").await.expect(204);
}

#[tokio::test]
async fn sample_stream_keeps_its_place_until_reader_leaves() {
    let t = server(Backend::Sqlite, &[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let amy = t.user("amy").await;
    let gauge = async || {
        let page = t.anonymous().get("/public/metrics").await.expect_text(200);
        let line = page.lines().find(|line| line.starts_with("http_requests_in_progress{") && line.contains("/sample/stream"));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap())
    };
    let mut reading = amy.call(Method::GET, "/app/sample/stream?follow=true").open().await;
    assert_eq!(reading.headers()["content-type"], "text/event-stream");
    assert_eq!(reading.headers()["cache-control"], "no-cache");
    let piece = reading.chunk().await.unwrap().unwrap();
    assert!(piece.starts_with(b"event: hello\ndata: amy\n"), "{piece:?}");
    // Longer than a request may take: a stream's time is its own.
    let still = tokio::time::timeout(std::time::Duration::from_millis(1500), reading.chunk()).await;
    assert!(still.is_err(), "the stream ended: {still:?}");
    assert_eq!(gauge().await, 1);
    drop(reading);
    eventually("the stream is over", async || gauge().await == 0).await;
}

#[tokio::test]
async fn sample_socket_without_token_closes_with_1008() {
    let t = server(Backend::Sqlite, &[]).await;
    let mut refused = Socket::open(&t.url, "/api/v1/app/sample/socket").await;
    assert_eq!(refused.close_code().await, 1008);
    let mut forged = Socket::open(&t.url, "/api/v1/app/sample/socket?token=junk").await;
    assert_eq!(forged.close_code().await, 1008);
}

#[tokio::test]
async fn sample_socket_keeps_its_place_until_closed() {
    let t = server(Backend::Sqlite, &[]).await;
    let token = claims("amy", &t.clock).sign(SECRET);
    let mut socket = Socket::open(&t.url, &format!("/api/v1/app/sample/socket?token={token}")).await;
    assert_eq!(socket.echo("hello").await, "hello");
    let open = async || {
        let page = t.anonymous().get("/public/metrics").await.expect_text(200);
        page.lines().any(|line| line.starts_with("http_requests_in_progress{") && line.contains("/sample/socket") && line.ends_with(" 1"))
    };
    assert!(open().await);
    drop(socket);
    eventually("the socket is over", async || !open().await).await;
}

#[tokio::test]
async fn sample_console_needs_cookie_role_and_same_origin() {
    let t = server(Backend::Sqlite, &[]).await;
    let (admin, amy) = (t.admin().await, t.user("amy").await);
    let ask = |method: Method, of: &Client, site: &str| {
        let cookie = format!("other=1; {COOKIE}={}", of.token.as_deref().unwrap());
        t.anonymous().call(method, "//console/sample").header("cookie", &cookie).header("sec-fetch-site", site)
    };
    assert_eq!(ask(Method::GET, &admin, "cross-site").await.expect_text(200), "GET by the-admin");
    assert_eq!(ask(Method::POST, &admin, "same-origin").await.expect_text(200), "POST by the-admin");
    ask(Method::POST, &admin, "cross-site").await.expect_error(403, "AUTHORIZATION_ERROR");
    ask(Method::GET, &amy, "same-origin").await.expect_error(403, "AUTHORIZATION_ERROR");
    // The header of the API is no key to a page.
    admin.get("//console/sample").await.expect_error(401, "AUTHENTICATION_ERROR");
}

#[tokio::test]
async fn sample_second_version_is_served_beside_first() {
    let t = server(Backend::Sqlite, &[]).await;
    let amy = t.user("amy").await;
    assert_eq!(amy.get("//api/v2/app/sample").await.expect(200), json!({"version": 2}));
    amy.get("/app/sample").await.expect_error(404, "NOT_FOUND");
    t.anonymous().get("//api/v2/app/sample").await.expect_error(401, "AUTHENTICATION_ERROR");
}

#[tokio::test]
async fn sample_schedule_enqueues_its_job() {
    let t = server(Backend::Sqlite, &[]).await;
    t.app.schedules.tick(&t.app.db, &t.app.jobs).await.unwrap();
    t.clock.advance(TimeDelta::days(1));
    t.app.schedules.tick(&t.app.db, &t.app.jobs).await.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE function = 'count_sample'").await, 1);
}

#[tokio::test]
async fn sample_is_in_document_and_routes() {
    let t = server(Backend::Sqlite, &[]).await;
    let document = t.anonymous().get("/openapi.json").await.expect(200);
    let second = t.anonymous().get("//api/v2/openapi.json").await.expect(200);
    for (document, path, method) in [
        (&document, "/api/v1/app/sample/stream", "get"),
        (&document, "/api/v1/app/sample/socket", "get"),
        (&document, "/api/v1/public/sample/webhook", "post"),
        (&second, "/api/v2/app/sample", "get"),
    ] {
        let operation = &document["paths"][path][method];
        assert_eq!(operation["tags"], json!(["sample"]), "{path}: {operation}");
        assert!(operation["responses"]["429"].is_object(), "{path}");
    }
    assert!(document["tags"].as_array().unwrap().iter().any(|tag| tag["name"] == "sample"));
    let shown = omnistack::cli::routes::table(&router::routes(&t.app.features), false);
    for line in ["GET     /api/v2/app/sample", "POST    /api/v1/public/sample/webhook", "POST    /console/sample"] {
        assert!(shown.lines().any(|shown| shown.starts_with(line) && shown.ends_with("sample")), "{line}: {shown}");
    }
}
