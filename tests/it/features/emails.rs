//! E-mail jobs: welcome, password reset and notification.

use serde_json::{Value, json};

use crate::harness::{Backend, TestApp};

on_both_backends![
    welcome_email_job_renders_template,
    reset_email_job_sends_link_and_masks_argument,
    notification_email_job_accepts_template_or_text,
    notification_email_job_invalid_input_fails,
];

/// Runs the job, checks its message id and returns the e-mail that it sent.
async fn sent(t: &TestApp, job: &str, payload: Value) -> Value {
    let (_, result) = t.run_function(job, payload).await.unwrap();
    let result = result.unwrap();
    assert_eq!(result.as_object().map(serde_json::Map::len), Some(1), "{result}");
    let id = result["message_id"].as_str().unwrap();
    assert!(id.strip_prefix("console-").is_some_and(|hex| hex.len() == 12), "{id}");
    let mails = t.app.mailer.mailbox().unwrap().list().await;
    let newest = mails.iter().find(|mail| mail.at == t.clock.now()).unwrap();
    t.clock.advance(chrono::TimeDelta::seconds(1));
    serde_json::to_value(newest).unwrap()
}

async fn welcome_email_job_renders_template(b: Backend) {
    let t = TestApp::with(b, &[("PROJECT_NAME", "Acme")]).await;
    let mail = sent(&t, "send_welcome_email", json!({"email": "ada@example.com", "name": "Ada"})).await;
    assert_eq!((&mail["subject"], &mail["to"]), (&json!("Welcome to Acme!"), &json!("ada@example.com")));
    assert_eq!((&mail["template"], &mail["from"]), (&json!("welcome"), &json!("My App <hello@example.com>")));
    assert!(mail["text"].as_str().unwrap().contains("Welcome, Ada!"), "{mail}");
    assert!(!mail["html"].as_str().unwrap().contains("Verify"), "{mail}");
}

async fn reset_email_job_sends_link_and_masks_argument(b: Backend) {
    let t = TestApp::start(b).await;
    let link = "https://app.example/reset?token=hunter2";
    let mail = sent(&t, "send_password_reset_email", json!({"email": "ada@example.com", "reset_link": link})).await;
    assert_eq!(mail["subject"], "Reset Your Password");
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("Hello,") && text.contains(&format!("Reset password\n{link}\n")) && text.contains("valid for 1 hour."), "{text}");
    let shown = t.app.jobs.catalog().shown("send_password_reset_email", &json!({"email": "a@b.c", "reset_link": link}).to_string());
    assert_eq!(shown, json!({"email": "a@b.c", "reset_link": "***"}));
}

async fn notification_email_job_accepts_template_or_text(b: Backend) {
    let t = TestApp::start(b).await;
    let plain = json!({"email": "ada@example.com", "subject": "News", "body": "It rains.\n\nStay <in>."});
    let mail = sent(&t, "send_notification_email", plain.clone()).await;
    assert_eq!((&mail["text"], &mail["template"]), (&json!("It rains.\n\nStay <in>."), &Value::Null));
    assert!(mail["html"].as_str().unwrap().contains("Stay &lt;in&gt;."), "{mail}");

    let mut templated = plain.clone();
    templated["template"] = "notification".into();
    let text = sent(&t, "send_notification_email", templated.clone()).await["text"].as_str().unwrap().to_owned();
    assert!(text.contains("News\n\nHello,\n\nIt rains. Stay <in>."), "{text}");
    templated["data"] = json!({"title": "Weather", "name": "Ada", "action_url": "https://a.example", "action_text": "Look"});
    let text = sent(&t, "send_notification_email", templated).await["text"].as_str().unwrap().to_owned();
    assert!(text.contains("Weather\n\nHello Ada,\n\nIt rains. Stay <in>.\n\nLook\nhttps://a.example"), "{text}");
}

async fn notification_email_job_invalid_input_fails(b: Backend) {
    let t = TestApp::start(b).await;
    let run = async |payload: Value| t.run_function("send_notification_email", payload).await.unwrap().1.unwrap_err();
    let unknown = run(json!({"email": "ada@example.com", "subject": "x", "body": "x", "template": "nothing"})).await;
    assert!(unknown.contains("there is no template of this name"), "{unknown}");
    let nobody = run(json!({"email": "ada@example.com\r\nBcc: x@y.example", "subject": "x", "body": "x"})).await;
    assert_eq!(nobody, "the recipient is not an e-mail address");
}
