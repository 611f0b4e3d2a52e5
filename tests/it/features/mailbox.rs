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
    send(&t, "anna@müller.example", "fourth", "<p>4</p>", None).await;
    for spelling in ["anna@m%C3%BCller.example", "anna@xn--mller-kva.example"] {
        assert_eq!(subjects(&all(&t, &format!("?to={spelling}")).await), ["fourth"]);
    }
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
    assert!(text.contains("go\nhttps:") && !text.contains("alert"), "{text}");
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

/// The paths of the mailbox, one of them of a mail.
async fn paths(t: &TestApp) -> [String; 3] {
    send(t, "ada@example.com", "Reset your password", "<p>secret</p>", None).await;
    let id = all(t, "").await["items"][0]["id"].as_str().unwrap().to_owned();
    ["//dev/mailbox".to_owned(), "//dev/mailbox.json".to_owned(), format!("//dev/mailbox/{id}")]
}

#[tokio::test]
async fn mailbox_foreign_host_is_refused() {
    // DNS rebinding: a page at evil.example lets its name resolve to 127.0.0.1 and reads the mailbox as its own origin.
    for remote in ["false", "true"] {
        let t = TestApp::with(Backend::Sqlite, &[("MAILBOX_REMOTE", remote), ("PUBLIC_BASE_URL", "https://dev.example.com")]).await;
        for path in paths(&t).await {
            for host in ["evil.example", "evil.example:8000", "localhost.evil.example", "169.254.169.254", "0.0.0.0"] {
                t.anonymous().get(&path).header("host", host).await.expect_error(403, "AUTHORIZATION_ERROR");
            }
            for host in ["localhost", "localhost:1", "127.0.0.1", "127.1.2.3:80", "[::1]:8000", "dev.example.com"] {
                t.anonymous().get(&path).header("host", host).await.expect_text(200);
            }
        }
        // Other routes do not ask for a host.
        t.anonymous().get("/public/health").header("host", "evil.example").await.expect(200);
    }
}

#[tokio::test]
async fn mailbox_foreign_host_over_http2_is_refused() {
    let t = TestApp::with(Backend::Sqlite, &[]).await;
    let address: std::net::SocketAddr = t.url.trim_start_matches("http://").parse().unwrap();
    let http = reqwest::Client::builder().http2_prior_knowledge().no_proxy().resolve("evil.example", address).resolve("localhost", address);
    let http = http.build().unwrap();
    for (host, status) in [("evil.example", 403), ("localhost", 200)] {
        let answer = http.get(format!("http://{host}:{}/dev/mailbox.json", address.port())).send().await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, status), "{host}");
    }
}

#[tokio::test]
async fn mailbox_without_host_is_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let t = TestApp::with(Backend::Sqlite, &[]).await;
    for (head, status) in [
        ("GET /dev/mailbox.json HTTP/1.0\r\n\r\n", "403"),
        ("GET /dev/mailbox.json HTTP/1.0\r\nHost: localhost\r\n\r\n", "200"),
        ("GET /dev/mailbox.json HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "403"),
        ("GET http://evil.example/dev/mailbox.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "403"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(t.url.trim_start_matches("http://")).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{head}{answer}");
    }
}

#[tokio::test]
async fn mailbox_client_on_other_machine_is_refused() {
    let (proxy, remote) = (("TRUSTED_PROXIES", "127.0.0.1"), ("MAILBOX_REMOTE", "true"));
    for (vars, forwarded, status) in [
        (&[proxy][..], "203.0.113.5", 403),
        (&[proxy], "127.0.0.1, 203.0.113.5", 403),
        (&[proxy], "127.0.0.1", 200),
        (&[proxy, remote], "203.0.113.5", 200),
        // The proxy is not trusted, so nothing is known of the client.
        (&[], "127.0.0.1", 403),
        (&[remote], "203.0.113.5", 200),
    ] {
        let t = TestApp::with(Backend::Sqlite, vars).await;
        for path in paths(&t).await {
            let reply = t.anonymous().get(&path).header("x-forwarded-for", forwarded).await;
            assert_eq!(reply.status, status, "{vars:?} {forwarded} {path}");
            if status == 403 {
                reply.expect_error(403, "AUTHORIZATION_ERROR");
            }
        }
    }
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
