//! Retries, circuit breakers and account problems of vendors, through the clients that use them.

use std::time::Duration;

use chrono::TimeDelta;
use omnistack::platform::outgoing::{CallError, Limits, Outgoing};
use omnistack::platform::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::stub::{Stub, closed_port};
use super::{rejected, send, transient, welcome};
use crate::harness::issuer::{Issuer, rsa_key};
use crate::harness::tokens::claims;
use crate::harness::{Backend, TestApp, eventually};

async fn with_resend(resend: &Stub) -> TestApp {
    let vars = [("EMAIL_PROVIDER", "resend"), ("RESEND_API_KEY", "re_secret"), ("RESEND_BASE_URL", resend.url.as_str())];
    TestApp::with(Backend::Sqlite, &vars).await
}

/// The vendors in the readiness, which stays healthy whatever they are.
async fn vendors(t: &TestApp) -> Value {
    let ready = t.anonymous().get("/public/health/ready").await.expect(200);
    assert_eq!(ready["status"], "healthy", "{ready}");
    ready["vendors"].clone()
}

async fn breaker_gauge(t: &TestApp, service: &str) -> String {
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    let name = format!("external_service_breaker_state{{service=\"{service}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
}

/// Passes the time in which a breaker is open. Only tokio's clock, which the breaker reads, is moved.
async fn pass_open_time() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(30)).await;
    tokio::time::resume();
}

fn outgoing() -> Outgoing {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Outgoing::new(&Metrics::default()).unwrap()
}

#[tokio::test]
async fn storage_breaker_opens_answers_502_and_closes_again() {
    let bucket = Bucket::start().await;
    let t = bucket.server().await;
    let amy = t.user("amy").await;
    let asked = amy.post("/app/files/upload-url", json!({"filename": "a.txt", "content_type": "text/plain", "size": 5})).await.expect(201);
    let confirm = async || amy.post("/app/files/confirm", json!({"file_id": asked["file_id"]})).await;
    confirm().await.expect_error(400, "BAD_REQUEST");
    assert_eq!((breaker_gauge(&t, "s3").await.as_str(), vendors(&t).await), ("0", Value::Null));

    bucket.set_down(true);
    for _ in 0..5 {
        confirm().await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    }
    assert_eq!(bucket.turned_away(), 15, "three attempts each, in one layer");
    let started = Instant::now();
    let reply = confirm().await;
    let after: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((20..=30).contains(&after), "{after}");
    assert_eq!(reply.expect_error(502, "EXTERNAL_SERVICE_ERROR"), json!({"service": "storage"}));
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(bucket.turned_away(), 15, "an open breaker lets no call through");
    assert_eq!((breaker_gauge(&t, "s3").await.as_str(), vendors(&t).await), ("2", json!({"s3": {"breaker": "open"}})));

    // A failing trial opens it again.
    pass_open_time().await;
    confirm().await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    assert_eq!((bucket.turned_away(), breaker_gauge(&t, "s3").await.as_str()), (18, "2"));

    bucket.set_down(false);
    pass_open_time().await;
    // The bucket answers that there is no object, so it works.
    confirm().await.expect_error(400, "BAD_REQUEST");
    assert_eq!((breaker_gauge(&t, "s3").await.as_str(), vendors(&t).await), ("1", json!({"s3": {"breaker": "half_open"}})));
    confirm().await.expect_error(400, "BAD_REQUEST");
    assert_eq!((breaker_gauge(&t, "s3").await.as_str(), vendors(&t).await), ("0", Value::Null));
}

#[tokio::test]
async fn storage_refused_calls_do_not_open_breaker() {
    let cloud = Stub::start(429, &[], "{}").await;
    let vars = [
        ("STORAGE_PROVIDER", "cloudinary"),
        ("CLOUDINARY_CLOUD_NAME", "acme"),
        ("CLOUDINARY_API_KEY", "1234"),
        ("CLOUDINARY_API_SECRET", "s"),
        ("CLOUDINARY_BASE_URL", cloud.url.as_str()),
    ];
    let t = TestApp::with(Backend::Sqlite, &vars).await;
    for status in [429, 400, 403] {
        cloud.answer(status, &[], "{}");
        for _ in 0..3 {
            assert!(t.app.storage.put("a", "text/plain", b"a".to_vec()).await.is_err());
        }
    }
    assert_eq!(breaker_gauge(&t, "cloudinary").await, "0");
    assert_eq!(cloud.asked().len(), 9, "a POST without an idempotency key is sent once");
    cloud.answer(401, &[], "{}");
    assert!(t.app.storage.size("a").await.is_err());
    assert_eq!(vendors(&t).await, json!({"cloudinary": {"account": "key_refused"}}));
}

#[tokio::test]
async fn mail_breaker_opens_and_names_its_pause() {
    let resend = Stub::start(503, &[], "").await;
    let t = with_resend(&resend).await;
    for _ in 0..5 {
        assert_eq!(transient(send(&t, welcome()).await).1, "resend: 503");
    }
    let (after, message) = transient(send(&t, welcome()).await);
    assert_eq!((after.is_some_and(|after| (20..=30).contains(&after)), message.as_str()), (true, "resend: failing, not called again yet"));
    assert_eq!(resend.asked().len(), 5);
    assert_eq!(vendors(&t).await, json!({"resend": {"breaker": "open"}}));
    resend.answer(200, &[], "{}");
    pass_open_time().await;
    for _ in 0..2 {
        send(&t, welcome()).await.unwrap();
    }
    assert_eq!(vendors(&t).await, Value::Null);
}

#[tokio::test]
async fn mail_refused_key_is_shown_until_a_success() {
    let resend = Stub::start(401, &[], r#"{"message": "API key is invalid"}"#).await;
    let t = with_resend(&resend).await;
    for _ in 0..6 {
        assert_eq!(rejected(send(&t, welcome()).await), "resend: 401: API key is invalid");
    }
    // No failure of the vendor: the breaker stays closed.
    assert_eq!(vendors(&t).await, json!({"resend": {"account": "key_refused"}}));
    resend.answer(422, &[], "{}");
    rejected(send(&t, welcome()).await);
    resend.answer(402, &[], "{}");
    rejected(send(&t, welcome()).await);
    assert_eq!(vendors(&t).await, json!({"resend": {"account": "billing"}}));
    resend.answer(200, &[], "{}");
    send(&t, welcome()).await.unwrap();
    assert_eq!(vendors(&t).await, Value::Null);
}

#[tokio::test]
async fn vendor_cool_down_is_shown_and_shared_by_its_clients() {
    let t = TestApp::with(Backend::Sqlite, &[]).await;
    let service = t.app.outgoing.service("vendor");
    service.cool_down("model", Duration::from_secs(20));
    let left = t.app.outgoing.service_with_breaker("vendor").cooling("model").unwrap();
    assert!(left > Duration::from_secs(10) && left <= Duration::from_secs(20), "{left:?}");
    assert_eq!(service.cooling("other"), None);
    assert_eq!(vendors(&t).await, json!({"vendor": {"cooling": 1}}));
    pass_open_time().await;
    assert_eq!((service.cooling("model"), vendors(&t).await), (None, Value::Null));
}

#[cfg(feature = "smtp")]
#[tokio::test]
async fn smtp_unreachable_server_opens_breaker() {
    let url = format!("smtp://127.0.0.1:{}", closed_port().await);
    let t = TestApp::with(Backend::Sqlite, &[("EMAIL_PROVIDER", "smtp"), ("SMTP_URL", &url)]).await;
    for _ in 0..5 {
        transient(send(&t, welcome()).await);
    }
    assert_eq!(transient(send(&t, welcome()).await).1, "smtp: failing, not called again yet");
    assert_eq!(vendors(&t).await, json!({"smtp": {"breaker": "open"}}));
}

#[tokio::test]
async fn jwks_outage_opens_no_breaker_and_keeps_keys() {
    let issuer = Issuer::start(&[rsa_key(0).named("k")]).await;
    let url = format!("{}/keys", issuer.url);
    let t = TestApp::with(Backend::Sqlite, &[("OAUTH_JWT_SECRET", ""), ("OAUTH_JWKS_URL", &url)]).await;
    let token = |t: &TestApp| rsa_key(0).token("k", &claims("amy", &t.clock).body);
    t.with_token(&token(&t)).get("/app/users/me").await.expect(200);
    issuer.answer_with(503, "");
    for _ in 0..10 {
        t.clock.advance(TimeDelta::hours(2));
        t.with_token(&token(&t)).get("/app/users/me").await.expect(200);
    }
    assert_eq!(issuer.fetches(), 11);
    assert_eq!(vendors(&t).await, Value::Null);
    issuer.publish(&[rsa_key(0).named("k")]);
    t.clock.advance(TimeDelta::hours(2));
    t.with_token(&token(&t)).get("/app/users/me").await.expect(200);
    assert_eq!(issuer.fetches(), 12);
}

#[tokio::test]
async fn retry_after_of_vendor_is_waited_for() {
    let vendor = Stub::start(503, &[("retry-after", "1")], "").await;
    let service = outgoing().service("vendor");
    let url = vendor.url.clone();
    let started = Instant::now();
    let call = tokio::spawn(async move { service.send_repeatable("read", Limits::default(), |client| client.get(&url)).await });
    eventually("the first attempt", async || vendor.asked().len() == 1).await;
    vendor.answer(200, &[], "fine");
    assert_eq!(call.await.unwrap().unwrap().body, "fine");
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(vendor.asked().len(), 2);
    // A pause that is too long for the caller is left to it.
    vendor.answer(429, &[("retry-after", "60")], "");
    let answer = outgoing().service("vendor").send_repeatable("read", Limits::default(), |client| client.get(&vendor.url)).await.unwrap();
    assert_eq!((answer.retry_after(), vendor.asked().len()), (Some(Duration::from_secs(60)), 3));
}

#[tokio::test]
async fn retries_end_by_the_limit_of_the_whole_call() {
    // Accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let service = outgoing().service_with_breaker("vendor");
    let limits = Limits { head: Duration::from_millis(400), total: Duration::from_millis(700), ..Limits::default() };
    let started = Instant::now();
    let outcome = service.send_repeatable("read", limits, |client| client.get(&url)).await;
    assert_eq!(outcome.err(), Some(CallError::TimedOut("vendor")));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    // Reads beyond our own limit are not the vendor's failure.
    let large = Stub::start(200, &[], &"x".repeat(100)).await;
    for _ in 0..6 {
        let mut answer = service.stream("read", Limits { bytes: 10, ..Limits::default() }, service.client().get(&large.url)).await.unwrap();
        assert_eq!(answer.next().await.err(), Some(CallError::TooLarge("vendor")));
    }
    assert!(service.admit().is_ok());
}

#[tokio::test]
async fn call_that_its_caller_leaves_does_not_count() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let service = outgoing().service_with_breaker("vendor");
    for _ in 0..6 {
        let call = service.send("read", Limits::default(), service.client().get(&url));
        assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
    }
    assert!(service.admit().is_ok());
}
