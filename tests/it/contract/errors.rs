//! The error format, including errors that no handler returns itself: panics, handlers that hang, and overload.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use chrono::DateTime;
use http::{Method, StatusCode};
use omnistack::app::App;
use omnistack::app::feature::{Feature, Setup};
use omnistack::platform::error::{CODES, Error};
use omnistack::platform::http::{Endpoints, Policy};
use serde_json::json;
use tokio::sync::Notify;

use crate::harness::{Backend, Reply, TestApp, files};

/// Number of concurrent requests that the server accepts.
const TOO_MANY: usize = 1024;

/// Number of waiting requests, and the signal that releases them.
#[derive(Default)]
struct Waiting {
    count: AtomicUsize,
    release: Notify,
}

/// A feature with handlers that panic, hang or fail.
struct Misbehaving;

impl Feature<App> for Misbehaving {
    fn name(&self) -> &'static str {
        "misbehaving"
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(Arc::new(Waiting::default()));
        Ok(())
    }

    fn endpoints(&self) -> Endpoints<App> {
        let forever = || get(std::future::pending::<()>);
        let quota = || Error::PlanLimit { feature: "messages", limit: 10, used: 10, resets_at: Some(DateTime::UNIX_EPOCH) };
        let quick = Policy::public().deadline(Duration::from_millis(100));
        [
            (Policy::public(), "public/panic", get(|| async { panic!("secret: {}", "/etc/passwd") as &str })),
            (Policy::public(), "public/panic-number", get(|| async { std::panic::panic_any(7) as &str })),
            (Policy::public(), "public/hang", forever()),
            (quick, "public/quick", forever()),
            (Policy::public(), "public/wait", get(wait)),
            (Policy::probe(), "public/probe", get(|| async { "here" })),
            (Policy::public(), "public/fault", get(|| async { Error::Internal(anyhow::anyhow!("SELECT secret FROM users")) })),
            (Policy::public(), "public/race", get(|| async { Error::Contended })),
            (Policy::public(), "public/quota", get(move || async move { quota() })),
            (Policy::public(), "public/bare/{status}", get(bare)),
            (Policy::user(), "app/panic", get(|| async { panic!("in an area for users") as &str })),
        ]
        .into_iter()
        .fold(Endpoints::new(), |all, (policy, path, handler)| all.page(policy, format!("/api/v1/{path}"), [Method::GET], handler))
    }
}

async fn wait(State(app): State<App>) {
    let waiting: &Arc<Waiting> = app.state();
    let released = waiting.release.notified();
    waiting.count.fetch_add(1, Ordering::SeqCst);
    released.await;
}

async fn bare(status: axum::extract::Path<u16>) -> (StatusCode, &'static str) {
    (StatusCode::from_u16(status.0).unwrap(), "text that a library wrote")
}

async fn serve_misbehaving(vars: &[(&str, &str)]) -> TestApp {
    TestApp::with_feature(Backend::Sqlite, &Misbehaving, vars).await
}

/// Checks an error response of a rate-limited route: status, code, headers, and no trace of the cause.
#[track_caller]
fn proper(reply: &Reply, status: u16, code: &str) {
    super::headers::carries_what_every_answer_does(code, reply);
    super::headers::tells_its_budget(code, reply, true);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.clone().expect_error(status, code), json!({}));
    for secret in ["secret", "passwd", "SELECT", "library", "panic", "anyhow", ".rs"] {
        assert!(!reply.text().contains(secret), "{}", reply.text());
    }
}

#[tokio::test]
async fn handler_panic_returns_500_and_server_survives() {
    let t = serve_misbehaving(&[]).await;
    let anybody = t.anonymous();
    for path in ["/public/panic", "/public/panic-number", "/public/fault"] {
        for _ in 0..3 {
            proper(&anybody.get(path).await, 500, "INTERNAL_ERROR");
        }
    }
    let amy = crate::harness::tokens::claims("amy", &t.clock).sign(crate::harness::SECRET);
    let reply = t.with_token(&amy).get("/app/panic").await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    proper(&reply, 500, "INTERNAL_ERROR");
    anybody.get("/app/panic").await.expect_error(401, "AUTHENTICATION_ERROR");
    anybody.get("/public/probe").await;
}

#[tokio::test]
async fn request_beyond_deadline_returns_503() {
    let t = serve_misbehaving(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let anybody = t.anonymous();
    let started = std::time::Instant::now();
    let (configured, of_route) = tokio::join!(anybody.get("/public/hang"), anybody.get("/public/quick"));
    assert!(started.elapsed() < Duration::from_secs(10));
    for reply in [configured, of_route] {
        assert_eq!(reply.header("retry-after"), Some("1"));
        proper(&reply, 503, "SERVICE_UNAVAILABLE");
    }
}

#[tokio::test]
async fn contended_write_returns_503_with_retry_after() {
    let t = serve_misbehaving(&[]).await;
    let reply = t.anonymous().get("/public/race").await;
    assert_eq!(reply.header("retry-after"), Some("1"));
    proper(&reply, 503, "SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn plan_limit_reached_returns_403_with_quota_details() {
    let t = serve_misbehaving(&[]).await;
    let reply = t.anonymous().get("/public/quota").await;
    for (name, value) in [("x-quota-limit", "10"), ("x-quota-remaining", "0"), ("x-quota-reset", "0")] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let details = reply.expect_error(403, "PLAN_LIMIT_EXCEEDED");
    assert_eq!(details, json!({"feature": "messages", "limit": 10, "used": 10, "resets_at": "1970-01-01T00:00:00Z"}));
}

#[tokio::test]
async fn bare_status_is_wrapped_in_error_envelope() {
    let t = serve_misbehaving(&[]).await;
    for (status, answered, code) in [
        (400, 400, "BAD_REQUEST"),
        (401, 401, "AUTHENTICATION_ERROR"),
        (403, 403, "AUTHORIZATION_ERROR"),
        (404, 404, "NOT_FOUND"),
        (405, 405, "METHOD_NOT_ALLOWED"),
        (408, 400, "BAD_REQUEST"),
        (415, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (418, 400, "BAD_REQUEST"),
        (500, 500, "INTERNAL_ERROR"),
        (501, 500, "INTERNAL_ERROR"),
        (503, 503, "SERVICE_UNAVAILABLE"),
        (504, 500, "INTERNAL_ERROR"),
    ] {
        let reply = t.anonymous().get(&format!("/public/bare/{status}")).await;
        proper(&reply, answered, code);
    }
}

#[tokio::test]
async fn pool_full_refuses_requests_but_answers_probes() {
    let t = serve_misbehaving(&[]).await;
    let waiting: &Arc<Waiting> = t.app.state();
    let client = t.anonymous();
    // A few shared connections, to stay below the limit of open files.
    let crowd: Vec<_> = (0..8).map(|_| crate::harness::Client::over_http2(&t.url)).collect();
    let calls: Vec<_> = (0..TOO_MANY)
        .map(|n| {
            let client = crowd[n % crowd.len()].clone();
            tokio::spawn(async move { client.get("/public/wait").await })
        })
        .collect();
    crate::harness::eventually("the request limit is reached", async || waiting.count.load(Ordering::SeqCst) == TOO_MANY).await;
    let refused = client.get("/public/quick").await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    super::headers::carries_what_every_answer_does("shed", &refused);
    refused.expect_error(503, "SERVICE_UNAVAILABLE");
    assert_eq!(client.get("/public/probe").await.text(), "here");
    waiting.release.notify_waiters();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    proper(&client.get("/public/fault").await, 500, "INTERNAL_ERROR");
}

/// Triggers each error code through a real request and checks its `details`.
#[tokio::test]
async fn error_codes_each_return_their_details() {
    let t = TestApp::with(Backend::Sqlite, &[("MAX_BODY_BYTES", "1000")]).await;
    let amy = t.user("amy").await;
    let id = "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d";
    let path = format!("/app/projects/{id}");
    let mut seen = BTreeSet::from(["INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "PLAN_LIMIT_EXCEEDED"]);
    let mut had = |code: &'static str| {
        seen.insert(code);
        code
    };

    assert_eq!(
        amy.call(Method::POST, "/app/projects").body("application/json", "{").await.expect_error(400, had("BAD_REQUEST")),
        json!({})
    );
    assert_eq!(t.anonymous().get(&path).await.expect_error(401, had("AUTHENTICATION_ERROR")), json!({}));
    assert_eq!(amy.get("/admin/users").await.expect_error(403, had("AUTHORIZATION_ERROR")), json!({}));
    assert_eq!(amy.get(&path).await.expect_error(404, had("NOT_FOUND")), json!({"resource": "Project", "id": id}));
    assert_eq!(amy.delete("/app/users/me").await.expect_error(405, had("METHOD_NOT_ALLOWED")), json!({}));
    let twin = crate::harness::tokens::claims("twin", &t.clock).with("email", "amy@example.test".into()).sign(crate::harness::SECRET);
    assert_eq!(t.with_token(&twin).get("/app/users/me").await.expect_error(409, had("CONFLICT")), json!({"resource": "User"}));
    let long = amy.post("/app/projects", json!({"name": "x".repeat(1000)})).await;
    assert_eq!(long.expect_error(413, had("PAYLOAD_TOO_LARGE")), json!({"limit": 1000}));
    let text = amy.call(Method::POST, "/app/projects").body("text/plain", "{}").await;
    assert_eq!(text.expect_error(415, had("UNSUPPORTED_MEDIA_TYPE")), json!({}));

    let details = amy.post("/app/projects", json!({"name": "", "description": 5})).await.expect_error(422, had("VALIDATION_ERROR"));
    let errors = details["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{details}");
    assert_eq!(details["field"], errors[0]["field"]);
    for error in errors {
        assert!(["field", "message", "type"].iter().all(|member| error[member].as_str().is_some_and(|text| !text.is_empty())), "{error}");
    }

    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/hour")]).await;
    let refused = t.user("amy").await.get("/app/users/me").await;
    let wait = refused.header("retry-after").map(ToOwned::to_owned);
    let details = refused.expect_error(429, had("RATE_LIMIT_EXCEEDED"));
    assert_eq!(details["retry_after"].as_u64().map(|seconds| seconds.to_string()), wait);

    // No folder can be created below a device file.
    let t = TestApp::with(Backend::Sqlite, &[("LOCAL_STORAGE_DIR", "/dev/null/files")]).await;
    let amy = t.user("amy").await;
    let asked = amy.post("/app/files/upload-url", json!({"filename": "a", "content_type": "text/plain", "size": 1})).await.expect(201);
    let failed = amy.post("/app/files/confirm", json!({"file_id": asked["file_id"]})).await;
    assert_eq!(failed.expect_error(502, had("EXTERNAL_SERVICE_ERROR")), json!({"service": "storage"}));

    let t = TestApp::start(Backend::Sqlite).await;
    let amy = t.user("amy").await;
    let file = files::upload(&t, &amy, "a.txt", "text/plain", b"0123456789").await;
    let link = files::link(&amy, &file).await;
    let refused = t.anonymous().call(Method::GET, &link).header("range", "bytes=99-").await;
    assert_eq!(refused.expect_error(416, had("RANGE_NOT_SATISFIABLE")), json!({}));

    // The three codes at the start of `seen` are covered by other tests in this file.
    let all: BTreeSet<_> = CODES.iter().map(|code| code.name).collect();
    assert_eq!(seen, all, "every code must be covered");
}

#[tokio::test]
async fn body_over_limit_returns_413_declared_or_streamed() {
    let t = TestApp::with(Backend::Sqlite, &[("MAX_BODY_BYTES", "1000")]).await;
    let amy = t.user("amy").await;
    let body = |size: usize| {
        let frame = json!({"name": "n", "pad": ""}).to_string();
        json!({"name": "n", "pad": "x".repeat(size - frame.len())}).to_string()
    };
    amy.call(Method::POST, "/app/projects").body("application/json", body(1000)).await.expect(201);
    let announced = amy.call(Method::POST, "/app/projects").body("application/json", body(1001)).await;
    // Streamed, without a `Content-Length`.
    let pieces = body(1001).into_bytes().chunks(100).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let streamed = amy.call(Method::POST, "/app/projects").body("application/json", stream).await;
    for reply in [announced, streamed] {
        super::headers::tells_its_budget("too large", &reply, true);
        assert_eq!(reply.expect_error(413, "PAYLOAD_TOO_LARGE"), json!({"limit": 1000}));
    }
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 1);
}
