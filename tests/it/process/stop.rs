//! Graceful shutdown: every accepted request gets a response.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::process::{PATIENCE, Place, Server, banner_password, until};

const HEALTH: &str = "GET /api/v1/public/health HTTP/1.1\r\nhost: x\r\n\r\n";

/// Access token of the administrator that the first start created.
async fn token(server: &Server) -> String {
    server.admin(&banner_password(&server.output())).await.token.unwrap()
}

/// A raw TCP connection.
struct Raw(TcpStream);

impl Raw {
    async fn open(server: &Server) -> Self {
        Self(TcpStream::connect(server.authority()).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the server closes the connection.
    async fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.unwrap_or_else(|_| panic!("the connection stays open")).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

/// A request that creates a project, in two parts: head with the first half of the body, and the second half.
fn halves(token: &str, body: &str) -> (String, String) {
    let (first, second) = body.split_at(body.len() / 2);
    let head = format!(
        "POST /api/v1/app/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + first, second.to_owned())
}

async fn says(server: &Server, what: &str) {
    until(what, async || server.output().contains(what).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_signal_turns_readiness_503_but_keeps_serving() {
    let place = Place::new().with("SHUTDOWN_DELAY_SECONDS", "1");
    let mut server = place.serve().await;
    let token = token(&server).await;
    let admin = server.client(Some(token.clone()));
    let before = admin.get("/app/projects").await;
    assert_eq!((before.status.as_u16(), before.header("connection")), (200, None));

    let mut slow = Raw::open(&server).await;
    let (first, second) = halves(&token, r#"{"name": "begun before the signal"}"#);
    slow.send(&first).await;
    let silent = Raw::open(&server).await;

    server.signal("TERM");
    // Readiness changes at once, also on a new connection, as a load balancer opens it.
    let refused = until("readiness returns 503", async || {
        let ready = server.client(None).get("/public/health/ready").await;
        (ready.status == 503).then_some(ready)
    })
    .await;
    assert_eq!((refused.header("connection"), refused.header("retry-after")), (Some("close"), Some("1")));
    assert_eq!(refused.json()["status"], "unhealthy");
    assert_eq!(refused.json()["components"]["database"]["status"], "healthy");

    // Other requests are served as before, but with `Connection: close`.
    let served = server.client(Some(token.clone())).get("/app/projects").await;
    assert_eq!((served.status.as_u16(), served.header("connection")), (200, Some("close")));
    assert_eq!(server.client(None).get("/public/health").await.expect(200)["status"], "healthy");

    slow.send(&second).await;
    let answer = slow.rest().await.to_lowercase();
    assert!(answer.starts_with("http/1.1 201") && answer.contains("connection: close"), "{answer}");
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.output());
    assert!(server.output().contains("stopped"), "{}", server.output());
    assert_eq!(silent.rest().await, "");

    let server = place.serve().await;
    let admin = server.client(Some(token));
    assert_eq!(admin.get("/app/projects").await.expect(200)["items"][0]["name"], "begun before the signal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_slow_request_is_answered_after_listener_closes() {
    let place = Place::new();
    let mut server = place.serve().await;
    let (first, second) = halves(&token(&server).await, r#"{"name": "slow"}"#);
    let mut slow = Raw::open(&server).await;
    slow.send(&first).await;
    server.client(None).get("/public/health").await.expect(200);
    server.signal("INT");
    until("the listener closes", async || TcpStream::connect(server.authority()).await.is_err().then_some(())).await;
    slow.send(&second).await;
    assert!(slow.rest().await.starts_with("HTTP/1.1 201"));
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_unfinished_request_is_cut_off_after_grace() {
    let place = Place::new().with("SHUTDOWN_GRACE_SECONDS", "1");
    let mut server = place.serve().await;
    let (first, _) = halves(&token(&server).await, r#"{"name": "never"}"#);
    let mut slow = Raw::open(&server).await;
    slow.send(&first).await;
    server.client(None).get("/public/health").await.expect(200);
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.output());
    assert!(server.output().contains("SHUTDOWN_GRACE_SECONDS"), "{}", server.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_second_signal_exits_at_once() {
    let place = Place::new().with("SHUTDOWN_DELAY_SECONDS", "3600");
    let mut server = place.serve().await;
    server.signal("TERM");
    says(&server, "stopping").await;
    server.client(None).get("/public/health").await.expect(200);
    server.signal("INT");
    assert_eq!(server.ended().await.code(), Some(130));
}

/// The kernel accepts connections before the process does; they must not be reset when the listener closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_queued_connections_are_answered() {
    let place = Place::new();
    let mut server = place.serve().await;
    server.signal("STOP");
    let mut queued = Vec::new();
    for _ in 0..50 {
        let mut connection = Raw::open(&server).await;
        connection.send(HEALTH).await;
        queued.push(connection);
    }
    server.signal("TERM");
    server.signal("CONT");
    for connection in queued {
        let answer = connection.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "response on a queued connection: {answer:?}");
    }
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_idle_connections_are_answered_before_close() {
    let place = Place::new();
    let mut server = place.serve().await;
    let mut silent = Vec::new();
    for n in 0..20 {
        let mut connection = Raw::open(&server).await;
        // Three kinds: used before, with a partial request, without any data.
        match n % 3 {
            0 => {
                connection.send(HEALTH).await;
                let mut byte = [0; 1];
                connection.0.read_exact(&mut byte).await.unwrap();
            }
            1 => connection.send(&HEALTH[..9]).await,
            _ => {}
        }
        silent.push((n % 3, connection));
    }
    server.client(None).get("/public/health").await.expect(200);
    server.signal("TERM");
    says(&server, "stopping").await;
    for (kind, connection) in &mut silent {
        connection.send(if *kind == 1 { &HEALTH[9..] } else { HEALTH }).await;
    }
    for (kind, connection) in silent {
        let answers = connection.rest().await;
        // On used connections one byte of the first response has already been read.
        let wanted = if kind == 0 { 2 } else { 1 };
        assert_eq!(answers.matches("TTP/1.1 200").count(), wanted, "kind {kind} got {answers:?}");
        assert!(answers.to_lowercase().contains("connection: close"), "{answers:?}");
    }
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_idle_server_exits_without_delay() {
    let started = std::time::Instant::now();
    let place = Place::new();
    let server = place.serve().await;
    let idle = Raw::open(&server).await;
    // HTTP/1 or HTTP/2: not known yet.
    let mut half = Raw::open(&server).await;
    half.send("PRI * HTTP").await;
    server.client(None).get("/public/health").await.expect(200);
    let output = server.stop().await;
    assert!(output.contains("stopping") && output.contains("stopped"), "{output}");
    assert!(started.elapsed() < Duration::from_secs(20), "an idle connection delays the stop");
    for connection in [idle, half] {
        assert_eq!(connection.rest().await, "");
    }
}
