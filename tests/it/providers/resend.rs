//! Resend.

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
async fn a_mail_is_one_request_with_both_parts_and_its_key() {
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
async fn a_mail_without_a_key_has_none() {
    let resend = Stub::start(200, &[], r#"{"id": "x"}"#).await;
    let t = server(&resend.url).await;
    let mut mail = welcome();
    mail.key = None;
    send(&t, mail).await.unwrap();
    assert_eq!(resend.asked()[0].header("idempotency-key"), None);
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_will_not() {
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
    // The same key is being worked on; and it was used for another mail, which no other try will change.
    resend.answer(409, &[], r#"{"name": "concurrent_idempotent_requests", "message": "Wait"}"#);
    assert_eq!(transient(send(&t, welcome()).await), (None, "resend: 409: Wait".to_owned()));
    resend.answer(409, &[], r#"{"name": "invalid_idempotent_request", "message": "Used"}"#);
    assert_eq!(rejected(send(&t, welcome()).await), "resend: 409: Used");
    for status in [400, 401, 403, 409, 422] {
        resend.answer(status, &[("retry-after", "7")], message);
        assert_eq!(rejected(send(&t, welcome()).await), format!("resend: {status}: Slow down"));
    }
    // The call itself is made once: another attempt is the job's.
    assert_eq!(resend.asked().len(), 12);
}

#[tokio::test]
async fn a_vendor_that_is_not_there_may_come_back() {
    let t = server(&format!("http://user:hunter2@127.0.0.1:{}", closed_port().await)).await;
    assert_eq!(transient(send(&t, welcome()).await), (None, "resend: cannot be reached".to_owned()));
    let t = server(&format!("http://127.0.0.1:{}", rude_port().await)).await;
    assert_eq!(transient(send(&t, welcome()).await), (None, "resend: the connection broke".to_owned()));
}

#[tokio::test]
async fn what_was_taken_is_sent_even_without_an_id() {
    let resend = Stub::start(200, &[], "{}").await;
    let t = server(&resend.url).await;
    for body in ["{}", "", r#"{"id": 7}"#] {
        resend.answer(200, &[], body);
        assert_eq!(send(&t, welcome()).await.unwrap().message_id, "", "{body}");
    }
}

#[tokio::test]
async fn an_error_names_nobody() {
    let resend = Stub::start(403, &[], r#"{"message": "You can only send to ada@example.com, (not: eve@b.example)."}"#).await;
    let t = server(&resend.url).await;
    assert_eq!(rejected(send(&t, welcome()).await), "resend: 403: You can only send to a***@example.com, (not: e***@b.example).");
}
