//! SMTP, against a minimal server that records the received lines.

#![cfg(feature = "smtp")]

use std::sync::{Arc, Mutex};

use omnistack::providers::email::mailer::Outgoing;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::stub::closed_port;
use super::{rejected, send, transient, welcome};
use crate::harness::{Backend, TestApp};

/// Minimal SMTP server. If `refusal` is set, it is the reply to every `RCPT` command.
struct Server {
    port: u16,
    refusal: Arc<Mutex<Option<&'static str>>>,
    /// All lines received from clients, without line ends.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), refusal: Arc::default(), heard: Arc::default() };
        let (refusal, heard) = (server.refusal.clone(), server.heard.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, refusal.clone(), heard.clone()));
            }
        });
        server
    }

    async fn app(&self, user: &str) -> TestApp {
        app(&format!("smtp://{user}127.0.0.1:{}", self.port)).await
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn message_ids(&self) -> Vec<String> {
        self.heard().into_iter().filter_map(|line| line.strip_prefix("Message-ID: ").map(str::to_owned)).collect()
    }
}

async fn talk(stream: TcpStream, refusal: Arc<Mutex<Option<&'static str>>>, heard: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 stub ESMTP\r\n").await?;
    let mut in_data = false;
    while let Some(line) = lines.next_line().await? {
        heard.lock().unwrap().push(line.clone());
        if in_data && line != "." {
            continue;
        }
        let refused = refusal.lock().unwrap().filter(|_| line.starts_with("RCPT"));
        let reply = match line.split([' ', ':']).next().unwrap_or_default() {
            _ if refused.is_some() => refused.unwrap_or_default(),
            "EHLO" => "250-stub\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME",
            "AUTH" => "235 welcome",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        in_data = line == "DATA";
        write.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

async fn app(url: &str) -> TestApp {
    let from = [("EMAIL_FROM_NAME", "Acme, Inc."), ("EMAIL_FROM_ADDRESS", "hello@acme.example")];
    TestApp::with(Backend::Sqlite, &[&[("EMAIL_PROVIDER", "smtp"), ("SMTP_URL", url)], &from[..]].concat()).await
}

#[tokio::test]
async fn smtp_message_has_text_and_html_parts() {
    let server = Server::start().await;
    let t = server.app("ada%40example.com:p%3Aw@").await;
    let mut mail = welcome();
    mail.subject = "Grüße\r\nBcc: x@y.example".to_owned();
    send(&t, mail).await.unwrap();

    let heard = server.heard();
    let has = |line: &str| heard.iter().any(|heard| heard == line);
    // The user and the password, decoded: "\0ada@example.com\0p:w".
    assert!(has("AUTH PLAIN AGFkYUBleGFtcGxlLmNvbQBwOnc="), "{heard:#?}");
    assert!(heard.iter().any(|line| line.starts_with("MAIL FROM:<hello@acme.example>")), "{heard:#?}");
    assert_eq!(heard.iter().filter(|line| line.starts_with("RCPT")).collect::<Vec<_>>(), ["RCPT TO:<ada@example.com>"]);
    // "Acme, Inc." encoded, because an unquoted comma would separate addresses.
    assert!(has("From: =?utf-8?b?QWNtZSwgSW5jLg==?= <hello@acme.example>") && has("To: ada@example.com"), "{heard:#?}");
    assert!(!heard.iter().any(|line| line.to_lowercase().starts_with("bcc:")), "{heard:#?}");
    let part = |kind: &str| heard.iter().position(|line| line.starts_with(&format!("Content-Type: {kind}"))).unwrap();
    assert!(part("multipart/alternative") < part("text/plain") && part("text/plain") < part("text/html"));
    assert!(heard[part("text/html")..].iter().any(|line| line.contains("Welcome, Ada!")), "{heard:#?}");
}

/// The stub offers no SMTPUTF8, as many servers: addresses must be ASCII.
#[tokio::test]
async fn smtp_international_domain_is_sent_as_idna() {
    let server = Server::start().await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let vars = [("EMAIL_PROVIDER", "smtp"), ("SMTP_URL", &url), ("EMAIL_FROM_ADDRESS", "hello@bücher.example"), ("EMAIL_FROM_NAME", "Bücher")];
    let t = TestApp::with(Backend::Sqlite, &vars).await;
    for to in ["anna@müller.example", "anna@xn--mller-kva.example"] {
        let sent = send(&t, Outgoing { to: to.to_owned(), ..welcome() }).await.unwrap();
        assert!(sent.message_id.ends_with("@xn--bcher-kva.example>"), "{sent:?}");
    }
    let heard = server.heard();
    let lines = |start: &str| heard.iter().filter(|line| line.starts_with(start)).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(lines("RCPT"), ["RCPT TO:<anna@xn--mller-kva.example>"; 2]);
    assert!(lines("MAIL").iter().all(|line| line.starts_with("MAIL FROM:<hello@xn--bcher-kva.example>")), "{heard:#?}");
    assert_eq!(lines("To: "), ["To: anna@xn--mller-kva.example"; 2]);
    assert_eq!(lines("From: "), ["From: =?utf-8?b?QsO8Y2hlcg==?= <hello@xn--bcher-kva.example>"; 2]);
    assert!(heard.iter().all(|line| line.is_ascii()), "{heard:#?}");
    // A local part that is not ASCII cannot be sent, which is known without the server.
    assert_eq!(rejected(send(&t, Outgoing { to: "jürgen@example.com".to_owned(), ..welcome() }).await), "the recipient is not an e-mail address");
    assert_eq!(server.heard().len(), heard.len());
}

#[tokio::test]
async fn smtp_repeated_send_keeps_message_id() {
    let server = Server::start().await;
    let t = server.app("").await;
    let (first, second) = (send(&t, welcome()).await.unwrap(), send(&t, welcome()).await.unwrap());
    assert_eq!(first, second);
    let mut other = welcome();
    other.key = Some("job-2".to_owned());
    let other = send(&t, other).await.unwrap();
    assert_ne!(first, other);
    assert!(first.message_id.ends_with("@acme.example>"), "{first:?}");
    assert_eq!(server.message_ids(), [first.message_id, second.message_id, other.message_id]);
}

#[tokio::test]
async fn smtp_4xx_is_transient_and_5xx_is_rejected() {
    let server = Server::start().await;
    let t = server.app("").await;
    *server.refusal.lock().unwrap() = Some("451 try later");
    // About this recipient, so the circuit breaker stays closed.
    for _ in 0..6 {
        let (_, message) = transient(send(&t, welcome()).await);
        assert!(message.starts_with("smtp: ") && message.contains("try later"), "{message}");
    }
    *server.refusal.lock().unwrap() = Some("550 <ada@example.com> no such user");
    let message = rejected(send(&t, welcome()).await);
    assert!(message.contains("<a***@example.com> no such user"), "{message}");
    *server.refusal.lock().unwrap() = None;
    send(&t, welcome()).await.unwrap();
}

#[tokio::test]
async fn smtp_unreachable_is_transient_and_hides_password() {
    let t = app(&format!("smtp://ada:hunter2@127.0.0.1:{}", closed_port().await)).await;
    let (_, message) = transient(send(&t, welcome()).await);
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn smtp_remote_host_without_tls_gets_no_credentials() {
    let server = Server::start().await;
    // `0.0.0.0` reaches this machine but is not a loopback address in the URL. Where it cannot be reached, no credentials
    // are sent either.
    let t = app(&format!("smtp://ada:hunter2@0.0.0.0:{}", server.port)).await;
    assert!(send(&t, welcome()).await.is_err());
    assert!(!server.heard().iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")), "{:?}", server.heard());
}
