//! Opening a connection: credentials, origins, the handshake.

use chrono::TimeDelta;
use http::Method;
use serde_json::json;

use super::client::Socket;
use super::{connect, connections, metric};
use crate::harness::tokens::claims;
use crate::harness::{Backend, Call, Client, Reply, SECRET, TestApp, eventually};

crate::on_both_backends![
    connected_frame_names_the_user_and_makes_their_row,
    deactivated_user_is_closed_with_1008,
    ticket_opens_one_connection_within_30s,
    ticket_of_ended_session_is_closed_with_1008,
    ended_session_is_closed_with_1008,
];

crate::on_sqlite![
    credentials_that_fail_are_closed_with_1008_and_no_frame,
    token_in_query_comes_before_header,
    origin_of_other_pages_is_refused_before_upgrade,
    origin_allowed_or_own_is_accepted,
    handshake_that_is_none_returns_400,
];

async fn connected_frame_names_the_user_and_makes_their_row(b: Backend) {
    let t = TestApp::start(b).await;
    let token = claims("new|b:o", &t.clock).sign(SECRET);
    let by_header = format!("bEaReR  {token}");
    let ways: [(String, &[_]); 2] = [(format!("?token={token}"), &[]), (String::new(), &[("authorization", by_header.as_str())])];
    for (query, headers) in ways {
        let mut socket = Socket::open(&t.url, &query, headers).await;
        let frame = socket.expect("connected").await;
        let data = frame["data"].as_object().unwrap();
        assert_eq!((data.len(), &data["user_id"], &frame["channel"]), (3, &json!("new|b:o"), &json!(null)), "{frame}");
        assert!(data["message"].is_string(), "{frame}");
        assert_eq!(data["connected_at"], frame["timestamp"]);
        socket.is_quiet().await;
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE id = 'new|b:o'").await, 1);
}

async fn credentials_that_fail_are_closed_with_1008_and_no_frame(b: Backend) {
    let t = TestApp::start(b).await;
    let valid = claims("amy", &t.clock);
    let token = valid.sign(SECRET);
    let past = t.clock.now().timestamp() - 3600;
    let queries = [
        String::new(),
        "?token=".to_owned(),
        "?token=junk".to_owned(),
        "?Token=".to_owned() + &token,
        format!("?token={token}x"),
        format!("?token={}", valid.sign("another secret of thirty-two characters")),
        format!("?token={}", valid.clone().with("exp", json!(past)).sign(SECRET)),
        format!("?token={}", valid.clone().without("exp").sign(SECRET)),
        format!("?token={}", valid.clone().without("sub").sign(SECRET)),
        format!("?token={}", valid.clone().with("sub", json!("")).sign(SECRET)),
        format!("?ticket={token}"),
        "?ticket=".to_owned(),
    ];
    for query in &queries {
        let mut socket = Socket::open(&t.url, query, &[]).await;
        assert_eq!(socket.closed().await, 1008, "{query}");
    }
    for header in ["", "Bearer", "Bearer ", "Bearer junk", "Basic YTpi", token.as_str()] {
        let mut socket = Socket::open(&t.url, "", &[("authorization", header)]).await;
        assert_eq!(socket.closed().await, 1008, "{header}");
    }
    assert_eq!(metric(&t, "auth_failures_total{reason=\"expired_token\"}").await, 1);
    assert!(metric(&t, "auth_failures_total{reason=\"missing_token\"}").await >= 1);
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 0);
}

async fn token_in_query_comes_before_header(b: Backend) {
    let t = TestApp::start(b).await;
    let header = format!("Bearer {}", claims("amy", &t.clock).sign(SECRET));
    let bob = claims("bob", &t.clock).sign(SECRET);
    let socket = Socket::open(&t.url, &format!("?token={bob}"), &[("authorization", header.as_str())]).await;
    assert_eq!(socket.greeted().await.user, "bob");
    let mut refused = Socket::open(&t.url, "?token=junk", &[("authorization", header.as_str())]).await;
    assert_eq!(refused.closed().await, 1008);
}

async fn deactivated_user_is_closed_with_1008(b: Backend) {
    let t = TestApp::start(b).await;
    let (admin, bob) = (t.admin().await, t.user("bob").await);
    admin.call(Method::POST, "/admin/users/bob/deactivate").await.expect(200);
    let mut refused = Socket::open(&t.url, &format!("?token={}", bob.token.as_ref().unwrap()), &[]).await;
    assert_eq!(refused.closed().await, 1008);
    admin.call(Method::POST, "/admin/users/bob/activate").await.expect(200);
    connect(&t, &bob).await.is_quiet().await;
}

async fn ticket(client: &Client) -> String {
    let answer = client.post("/app/ws/ticket", json!({})).await.expect(200);
    format!("?ticket={}", answer["ticket"].as_str().unwrap())
}

async fn ticket_opens_one_connection_within_30s(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let other = t.second_with_accounts(&[]).await;
    let ada = t.register("ada@example.test").await;
    let (once, late) = (ticket(&ada.client).await, ticket(&ada.client).await);
    let mut socket = Socket::open(&other.url, &once, &[]).await.greeted().await;
    assert_eq!(socket.user, ada.id);
    for instance in [&t, &other] {
        let mut again = Socket::open(&instance.url, &once, &[]).await;
        assert_eq!(again.closed().await, 1008);
    }
    t.clock.advance(TimeDelta::seconds(30));
    let mut refused = Socket::open(&t.url, &late, &[]).await;
    assert_eq!(refused.closed().await, 1008);
    socket.is_quiet().await;
}

async fn ticket_of_ended_session_is_closed_with_1008(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let kept = t.login("ada@example.test").await;
    let (ended, open) = (ticket(&ada.client).await, ticket(&kept.client).await);
    t.anonymous().post("/public/auth/logout", json!({"refresh_token": ada.refresh})).await.expect(204);
    let mut refused = Socket::open(&t.url, &ended, &[]).await;
    assert_eq!(refused.closed().await, 1008);
    assert_eq!(Socket::open(&t.url, &open, &[]).await.greeted().await.user, ada.id, "another session of the same user");
}

async fn ended_session_is_closed_with_1008(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let token = ada.client.token.as_ref().unwrap();
    Socket::with_token(&t.url, token).await.is_quiet().await;
    ada.client.post("/app/auth/logout-all", json!({})).await.expect(204);
    let mut refused = Socket::open(&t.url, &format!("?token={token}"), &[]).await;
    assert_eq!(refused.closed().await, 1008);
    // The other kinds of tokens open nothing.
    let bea = t.register("bea@example.test").await;
    let mut refused = Socket::open(&t.url, &format!("?token={}", bea.refresh), &[]).await;
    assert_eq!(refused.closed().await, 1008);
}

/// The request with which a client of this origin opens a WebSocket.
fn handshake(client: &Client, method: Method) -> Call {
    client
        .call(method, "/app/ws")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

async fn origin_of_other_pages_is_refused_before_upgrade(b: Backend) {
    let t = TestApp::with(b, &[("BACKEND_CORS_ORIGINS", "https://app.example.test")]).await;
    let amy = t.user("amy").await;
    let authority = t.url.trim_start_matches("http://").to_owned();
    let origins = [
        "null",
        "",
        "https://evil.example",
        "http://app.example.test",
        "https://app.example.test:8443",
        "https://app.example.test.evil.example",
        "http://localhost:3000",
        "http://127.0.0.1",
        &format!("capacitor://{authority}"),
        &format!("http://{authority}.evil.example"),
    ];
    for origin in origins {
        let refused: Reply = handshake(&amy, Method::GET).header("origin", origin).await;
        assert_eq!(refused.header("access-control-allow-origin"), None, "{origin}");
        refused.expect_error(403, "AUTHORIZATION_ERROR");
        // Without credentials as well, and for a request that is no handshake.
        t.anonymous().get("/app/ws").header("origin", origin).await.expect_error(403, "AUTHORIZATION_ERROR");
    }
    eventually("no place is kept", async || connections(&amy).await == 0).await;
}

async fn origin_allowed_or_own_is_accepted(b: Backend) {
    let vars = [("BACKEND_CORS_ORIGINS", "https://app.example.test"), ("PUBLIC_BASE_URL", "https://api.example.test/base")];
    let t = TestApp::with(b, &vars).await;
    let amy = t.user("amy").await;
    let own = [t.url.clone(), t.url.replace("http://", "https://")];
    for origin in ["https://app.example.test", "https://api.example.test", &own[0], &own[1]] {
        let query = format!("?token={}", amy.token.as_ref().unwrap());
        let socket = Socket::open(&t.url, &query, &[("origin", origin)]).await;
        assert_eq!(socket.greeted().await.user, "amy", "{origin}");
    }
}

async fn handshake_that_is_none_returns_400(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let full = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let wrong = [
        ("connection", vec!["", "keep-alive"]),
        ("upgrade", vec!["", "h2c"]),
        ("sec-websocket-version", vec!["", "8", "12", "13, 8"]),
        ("sec-websocket-key", vec!["", "junk", "dGhlIHNhbXBsZQ==", "dGhlIHNhbXBsZSBub25jZQ"]),
    ];
    for (name, values) in &wrong {
        for value in values {
            let mut call = amy.get("/app/ws");
            for (other, good) in full {
                let sent = if other == *name { *value } else { good };
                if !sent.is_empty() {
                    call = call.header(other, sent);
                }
            }
            call.await.expect_error(400, "BAD_REQUEST");
        }
    }
    amy.get("/app/ws").await.expect_error(400, "BAD_REQUEST");
    t.anonymous().get("/app/ws").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.anonymous().get("/app/ws?token=junk").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.anonymous().get("/app/ws?ticket=junk").await.expect_error(400, "BAD_REQUEST");
    Client::over_http2(&t.url).get("/app/ws").await.expect_error(401, "AUTHENTICATION_ERROR");
    handshake(&amy, Method::POST).await.expect_error(405, "METHOD_NOT_ALLOWED");
}
