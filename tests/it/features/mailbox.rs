//! Developer mailbox: pages and JSON under `/dev/mailbox`.

use chrono::TimeDelta;
use omnistack::providers::email::mailer::{Content, Outgoing};
use serde_json::Value;

use crate::harness::{Backend, TestApp};

async fn send(t: &TestApp, to: &str, subject: &str, html: &str, key: Option<&str>) {
    t.clock.advance(TimeDelta::seconds(1));
    let mail = Outgoing {
        to: to.to_owned(),
        subject: subject.to_owned(),
        content: Content::Html(html.to_owned()),
        from: None,
        key: key.map(str::to_owned),
    };
    // The result is ignored because the mailbox also lists e-mails that could not be sent.
    let _ = t.app.mailer.send(mail, t.clock.now()).await;
}

async fn all(t: &TestApp, query: &str) -> Value {
    t.anonymous().get(&format!("//dev/mailbox.json{query}")).await.expect(200)
}

fn subjects(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|mail| mail["subject"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn mailbox_list_returns_newest_first() {
    let t = TestApp::start(Backend::Sqlite).await;
    assert_eq!(all(&t, "").await, serde_json::json!({"items": [], "total": 0}));
    assert!(t.anonymous().get("//dev/mailbox").await.expect_text(200).contains("Nothing has been sent yet"));

    send(&t, "ada@example.com", "first", "<p>1</p>", None).await;
    send(&t, "bob@example.com", "second", "<p>2</p>", Some("job")).await;
    send(&t, "Ada@Example.com", "third", "<p>3</p>", None).await;
    send(&t, "bob@example.com", "second again", "<p>2</p>", Some("job")).await;
    let page = all(&t, "").await;
    assert_eq!((subjects(&page), &page["total"]), (vec!["second again", "third", "first"], &3.into()));
    assert_eq!((page["items"][0]["html"].as_str(), page["items"][0]["text"].as_str()), (Some("<p>2</p>"), Some("2")));
    let page = all(&t, "?to=ada@example.COM&limit=1").await;
    assert_eq!((subjects(&page), &page["total"]), (vec!["third"], &2.into()));
    for query in ["?limit=0", "?limit=201", "?limit=x"] {
        assert_eq!(t.anonymous().get(&format!("//dev/mailbox.json{query}")).await.expect_invalid(), ["limit"]);
    }
}

#[tokio::test]
async fn mailbox_message_with_script_is_escaped_in_all_views() {
    let t = TestApp::start(Backend::Sqlite).await;
    let evil = r#"<p>Hi</p><script>alert("1")</script><a href="https://a.example">go</a>"#;
    send(&t, "ada@example.com", "<b>Subject</b>", evil, None).await;
    let path = format!("//dev/mailbox/{}", all(&t, "").await["items"][0]["id"].as_str().unwrap());
    let get = async |view: &str| t.anonymous().get(&format!("{path}{view}")).await;

    let reply = get("").await;
    assert_eq!((reply.header("cache-control"), reply.header("referrer-policy")), (Some("no-store"), Some("no-referrer")));
    let policy = reply.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'; img-src https: http: data:;"), "{policy}");
    let page = reply.expect_text(200);
    assert!(page.contains(r#"sandbox="allow-popups allow-popups-to-escape-sandbox" srcdoc="&lt;base target="#), "{page}");
    assert!(!page.contains("<script") && !page.contains("<b>Subject"), "{page}");
    assert_eq!(get("?view=html").await.text(), page);
    let text = get("?view=text").await.expect_text(200);
    assert!(text.contains("go (https:") && !text.contains("alert"), "{text}");
    let source = get("?view=source").await.expect_text(200);
    assert!(source.contains("&lt;script&gt;") && !source.contains("<script"), "{source}");
    assert_eq!(get("?view=raw").await.expect_invalid(), ["view"]);
    assert!(!t.anonymous().get("//dev/mailbox").await.expect_text(200).contains("<b>Subject"));
}

#[tokio::test]
async fn mailbox_failed_message_shows_error() {
    let t = TestApp::start(Backend::Sqlite).await;
    send(&t, "nobody", "lost", "x", None).await;
    let mail = &all(&t, "").await["items"][0];
    assert_eq!(mail["error"], "the recipient is not an e-mail address");
    let page = t.anonymous().get(&format!("//dev/mailbox/{}", mail["id"].as_str().unwrap())).await.expect_text(200);
    assert!(page.contains("the recipient is not an e-mail address"), "{page}");
}

#[tokio::test]
async fn mailbox_unknown_id_returns_404() {
    let t = TestApp::start(Backend::Sqlite).await;
    for id in ["x", "20260101T000000000000-0123456789abcdef", "..%2Fsecret_key", "%FF"] {
        t.anonymous().get(&format!("//dev/mailbox/{id}")).await.expect_error(404, "NOT_FOUND");
    }
    t.anonymous().post("//dev/mailbox", Value::Null).await.expect_error(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn mailbox_outside_development_returns_404() {
    let t = TestApp::with(Backend::Sqlite, &[("ENVIRONMENT", "staging")]).await;
    send(&t, "ada@example.com", "first", "x", None).await;
    assert!(!t.app.config.core.data_dir.join("mailbox").exists());
    for path in ["", ".json", "/20260101T000000000000-0123456789abcdef"] {
        t.anonymous().get(&format!("//dev/mailbox{path}")).await.expect_error(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn mailbox_requests_skip_rate_limit_metrics_and_openapi() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/minute")]).await;
    for _ in 0..3 {
        let reply = t.anonymous().get("//dev/mailbox").await;
        assert_eq!(reply.header("x-ratelimit-limit"), None);
        reply.expect_text(200);
    }
    let metrics = t.anonymous().get("/public/metrics").await.expect_text(200);
    assert!(!metrics.contains("/dev/mailbox"), "{metrics}");
    let document = t.anonymous().get("/openapi.json").await.expect_text(200);
    assert!(!document.contains("/dev/mailbox"));
}
