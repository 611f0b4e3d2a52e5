//! `SendGrid` e-mail API.

use serde_json::json;

use super::stub::{Stub, closed_port, rude_port};
use super::{rejected, send, transient, welcome};
use crate::harness::{Backend, TestApp};

async fn server(url: &str) -> TestApp {
    let vars = [
        ("EMAIL_PROVIDER", "sendgrid"),
        ("SENDGRID_API_KEY", "SG.secret"),
        ("SENDGRID_BASE_URL", url),
        ("EMAIL_FROM_NAME", "Acme, Inc."),
        ("EMAIL_FROM_ADDRESS", "hello@acme.example"),
    ];
    TestApp::with(Backend::Sqlite, &vars).await
}

#[tokio::test]
async fn sendgrid_mail_is_one_request_with_both_parts() {
    let sendgrid = Stub::start(202, &[("x-message-id", "14c5d75ce93")], "").await;
    let t = server(&sendgrid.url).await;
    assert_eq!(send(&t, welcome()).await.unwrap().message_id, "14c5d75ce93");

    let [asked] = sendgrid.asked().try_into().ok().unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v3/mail/send"));
    assert_eq!(asked.header("authorization"), Some("Bearer SG.secret"));
    let (text, html) = (&asked.body["content"][0]["value"], &asked.body["content"][1]["value"]);
    assert!(text.as_str().unwrap().contains("Welcome, Ada!") && html.as_str().unwrap().contains("Welcome, Ada!"));
    assert_eq!(
        asked.body,
        json!({
            "personalizations": [{"to": [{"email": "ada@example.com"}], "custom_args": {"key": "job-1"}}],
            "from": {"email": "hello@acme.example", "name": "Acme, Inc."},
            "subject": "Welcome",
            "content": [{"type": "text/plain", "value": text}, {"type": "text/html", "value": html}],
        })
    );
}

#[tokio::test]
async fn sendgrid_errors_are_classified_by_status() {
    let sendgrid = Stub::start(200, &[], "").await;
    let t = server(&sendgrid.url).await;
    for status in [200, 201] {
        sendgrid.answer(status, &[("x-message-id", "id")], "{}");
        assert_eq!(send(&t, welcome()).await.unwrap().message_id, "id", "{status}");
    }
    sendgrid.answer(202, &[], "");
    assert_eq!(send(&t, welcome()).await.unwrap().message_id, "", "accepted without an id");
    let message = r#"{"errors": [{"message": "The from address is not verified", "field": "from"}]}"#;
    sendgrid.answer(429, &[("retry-after", "5")], message);
    assert_eq!(transient(send(&t, welcome()).await), (Some(5), "sendgrid: 429: The from address is not verified".to_owned()));
    sendgrid.answer(500, &[], "");
    assert_eq!(transient(send(&t, welcome()).await), (None, "sendgrid: 500".to_owned()));
    for status in [400, 401, 403, 409, 413] {
        sendgrid.answer(status, &[], message);
        assert_eq!(rejected(send(&t, welcome()).await), format!("sendgrid: {status}: The from address is not verified"));
    }
}

#[tokio::test]
async fn sendgrid_unreachable_is_transient() {
    let t = server(&format!("http://127.0.0.1:{}", closed_port().await)).await;
    assert_eq!(transient(send(&t, welcome()).await), (None, "sendgrid: cannot be reached".to_owned()));
    let t = server(&format!("http://127.0.0.1:{}", rude_port().await)).await;
    assert_eq!(transient(send(&t, welcome()).await), (None, "sendgrid: the connection broke".to_owned()));
}
