//! Resend e-mail API.

use serde_json::json;

use super::stub::{Stub, closed_port, rude_port};
use super::{rejected, send, transient, welcome};
use crate::harness::{Backend, TestApp};

async fn server(url: &str) -> TestApp {
    let vars = [
        ("EMAIL_PROVIDER", "resend"),
        ("RESEND_API_KEY", "re_secret"),
        ("RESEND_BASE_URL", url),
        ("EMAIL_FROM_NAME", "Acme, Inc."),
        ("EMAIL_FROM_ADDRESS", "hello@acme.example"),
    ];
    TestApp::with(Backend::Sqlite, &vars).await
}

#[tokio::test]
async fn resend_mail_is_one_request_with_idempotency_key() {
    let resend = Stub::start(200, &[], r#"{"id": "49a3999c"}"#).await;
    let t = server(&resend.url).await;
    assert_eq!(send(&t, welcome()).await.unwrap().message_id, "49a3999c");

    let [asked] = resend.asked().try_into().ok().unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/emails"));
    assert_eq!(asked.header("authorization"), Some("Bearer re_secret"));
    assert_eq!(asked.header("idempotency-key"), Some("job-1"));
    let html = asked.body["html"].as_str().unwrap();
    let text = asked.body["text"].as_str().unwrap();
    assert!(html.contains("Welcome, Ada!") && html.starts_with("<!doctype html>"), "{html}");
    assert!(text.contains("Welcome, Ada!\n\nThank you") && !text.contains('<'), "{text}");
    assert_eq!(
        asked.body,
        json!({"from": "\"Acme, Inc.\" <hello@acme.example>", "to": ["ada@example.com"], "subject": "Welcome", "html": html, "text": text})
    );
}

#[tokio::test]
async fn resend_mail_without_key_sends_no_idempotency_key() {
    let resend = Stub::start(200, &[], r#"{"id": "x"}"#).await;
    let t = server(&resend.url).await;
    let mut mail = welcome();
    mail.key = None;
    send(&t, mail).await.unwrap();
    assert_eq!(resend.asked()[0].header("idempotency-key"), None);
}

#[tokio::test]
async fn resend_errors_are_classified_by_status() {
    let resend = Stub::start(200, &[], "").await;
    let t = server(&resend.url).await;
    let message = r#"{"name": "x", "message": "Slow\r\ndown"}"#;

    resend.answer(429, &[("retry-after", "7")], message);
    assert_eq!(transient(send(&t, welcome()).await), (Some(7), "resend: 429: Slow down".to_owned()));
    let date = [("retry-after", "Thu, 01 Jan 2026 00:01:30 GMT"), ("date", "Thu, 01 Jan 2026 00:00:00 GMT")];
    resend.answer(503, &date, "<html>");
    assert_eq!(transient(send(&t, welcome()).await), (Some(90), "resend: 503".to_owned()));
    for status in [408, 500, 502] {
        resend.answer(status, &[], message);
        assert_eq!(transient(send(&t, welcome()).await).0, None, "{status}");
    }
    // 409 is transient while a request with the same key is in progress, and final if the key was used for another mail.
    resend.answer(409, &[], r#"{"name": "concurrent_idempotent_requests", "message": "Wait"}"#);
    assert_eq!(transient(send(&t, welcome()).await), (None, "resend: 409: Wait".to_owned()));
    resend.answer(409, &[], r#"{"name": "invalid_idempotent_request", "message": "Used"}"#);
    assert_eq!(rejected(send(&t, welcome()).await), "resend: 409: Used");
    for status in [400, 401, 403, 409, 422] {
        resend.answer(status, &[("retry-after", "7")], message);
        assert_eq!(rejected(send(&t, welcome()).await), format!("resend: {status}: Slow down"));
    }
    // Each send makes one request; retries are left to the job.
    assert_eq!(resend.asked().len(), 12);
}

#[tokio::test]
async fn resend_unreachable_is_transient() {
    let t = server(&format!("http://user:hunter2@127.0.0.1:{}", closed_port().await)).await;
    assert_eq!(transient(send(&t, welcome()).await), (None, "resend: cannot be reached".to_owned()));
    let t = server(&format!("http://127.0.0.1:{}", rude_port().await)).await;
    assert_eq!(transient(send(&t, welcome()).await), (None, "resend: the connection broke".to_owned()));
}

#[tokio::test]
async fn resend_success_without_id_counts_as_sent() {
    let resend = Stub::start(200, &[], "{}").await;
    let t = server(&resend.url).await;
    for body in ["{}", "", r#"{"id": 7}"#] {
        resend.answer(200, &[], body);
        assert_eq!(send(&t, welcome()).await.unwrap().message_id, "", "{body}");
    }
}

#[tokio::test]
async fn resend_error_masks_addresses() {
    let resend = Stub::start(403, &[], r#"{"message": "You can only send to ada@example.com, (not: eve@b.example)."}"#).await;
    let t = server(&resend.url).await;
    assert_eq!(rejected(send(&t, welcome()).await), "resend: 403: You can only send to a***@example.com, (not: e***@b.example).");
}
