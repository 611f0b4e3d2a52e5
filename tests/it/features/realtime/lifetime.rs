//! How long a connection lives: its token, its session, its user.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::json;

use super::client::Socket;
use super::{connect, connections, minute_passes};
use crate::harness::tokens::claims;
use crate::harness::{Backend, SECRET, TestApp, eventually};

crate::on_both_backends![
    ticket_connection_lives_as_long_as_its_session,
    deactivated_user_is_closed_at_once,
    erased_user_is_closed_and_not_made_anew,
];

crate::on_sqlite![
    token_end_is_announced_and_closes_with_1008,
    token_that_ends_soon_is_announced_at_once,
    newer_token_renews_the_connection,
    token_that_renews_nothing_closes_with_1008,
    ticket_of_a_foreign_token_ends_with_it,
    connections_of_other_instances_end_within_a_minute,
];

/// A token that lasts this long.
fn token(t: &TestApp, user: &str, lasts: TimeDelta) -> (String, DateTime<Utc>) {
    let end = t.clock.now().timestamp() + lasts.num_seconds();
    (claims(user, &t.clock).with("exp", json!(end)).sign(SECRET), DateTime::from_timestamp(end, 0).unwrap())
}

fn expires_at(frame: &serde_json::Value) -> DateTime<Utc> {
    assert_eq!((frame["data"].as_object().unwrap().len(), &frame["channel"]), (1, &json!(null)), "{frame}");
    DateTime::parse_from_rfc3339(frame["data"]["expires_at"].as_str().unwrap()).unwrap().to_utc()
}

/// The connection looks at the clock with the next frame.
async fn look(socket: &mut Socket) {
    socket.send(json!({"type": "ping"})).await;
}

async fn token_end_is_announced_and_closes_with_1008(b: Backend) {
    let t = TestApp::start(b).await;
    let (token, end) = token(&t, "amy", TimeDelta::hours(1));
    let mut socket = Socket::with_token(&t.url, &token).await;
    t.clock.advance(TimeDelta::minutes(58));
    socket.is_quiet().await;
    t.clock.advance(TimeDelta::seconds(61));
    look(&mut socket).await;
    assert_eq!(expires_at(&socket.skip_to("expiring").await), end);
    t.clock.advance(TimeDelta::seconds(58));
    look(&mut socket).await;
    let once = socket.skip_to("pong").await;
    assert_eq!(once["type"], "pong");
    t.clock.advance(TimeDelta::seconds(1));
    look(&mut socket).await;
    let (frames, code) = socket.end().await;
    assert!(frames.iter().all(|frame| frame["type"] == "pong"), "{frames:?}");
    assert_eq!(code, 1008);
}

async fn token_that_ends_soon_is_announced_at_once(b: Backend) {
    let t = TestApp::start(b).await;
    let (token, end) = token(&t, "amy", TimeDelta::seconds(59));
    let mut socket = Socket::with_token(&t.url, &token).await;
    assert_eq!(expires_at(&socket.expect("expiring").await), end);
    socket.is_quiet().await;
}

async fn newer_token_renews_the_connection(b: Backend) {
    let t = TestApp::start(b).await;
    let (first, _) = token(&t, "amy", TimeDelta::minutes(15));
    let mut socket = Socket::with_token(&t.url, &first).await;
    socket.subscribe("room:a").await;
    for _ in 0..3 {
        t.clock.advance(TimeDelta::minutes(14));
        look(&mut socket).await;
        socket.skip_to("expiring").await;
        let (next, end) = token(&t, "amy", TimeDelta::minutes(15));
        socket.send(json!({"type": "auth", "token": next})).await;
        assert_eq!(expires_at(&socket.skip_to("authenticated").await), end);
    }
    socket.publish("room:a", json!("its subscriptions stay")).await;
    // A shorter one counts as well.
    let (shorter, end) = token(&t, "amy", TimeDelta::minutes(2));
    let reply = socket.ask(json!({"type": "auth", "token": shorter})).await;
    assert_eq!(expires_at(&reply), end);
    t.clock.advance(TimeDelta::minutes(2));
    look(&mut socket).await;
    assert_eq!(socket.end().await.1, 1008);
}

async fn token_that_renews_nothing_closes_with_1008(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let good = claims("amy", &t.clock);
    let past = t.clock.now().timestamp() - 1000;
    for worthless in [
        "junk".to_owned(),
        claims("bob", &t.clock).sign(SECRET),
        good.clone().with("exp", json!(past)).sign(SECRET),
        good.clone().without("sub").sign(SECRET),
        good.sign("another secret of thirty-two characters"),
    ] {
        let mut socket = connect(&t, &amy).await;
        socket.send(json!({"type": "auth", "token": worthless})).await;
        assert_eq!(socket.closed().await, 1008, "{worthless}");
    }
    t.user("bob").await.get("/app/users/me").await.expect(200);
}

async fn ticket_connection_lives_as_long_as_its_session(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let ticket = ada.client.post("/app/ws/ticket", json!({})).await.expect(200)["ticket"].as_str().unwrap().to_owned();
    let mut socket = Socket::open(&t.url, &format!("?ticket={ticket}"), &[]).await.greeted().await;
    for _ in 0..3 {
        t.minutes_pass(20);
        minute_passes(&t, &ada.id);
        socket.is_quiet().await;
    }
    t.anonymous().post("/public/auth/logout", json!({"refresh_token": ada.refresh})).await.expect(204);
    minute_passes(&t, &ada.id);
    assert_eq!(socket.closed().await, 1008);
}

async fn ticket_of_a_foreign_token_ends_with_it(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let ticket = amy.post("/app/ws/ticket", json!({})).await.expect(200)["ticket"].as_str().unwrap().to_owned();
    let mut socket = Socket::open(&t.url, &format!("?ticket={ticket}"), &[]).await.greeted().await;
    socket.is_quiet().await;
    t.clock.advance(TimeDelta::hours(1));
    look(&mut socket).await;
    assert_eq!(socket.end().await.1, 1008);
}

async fn deactivated_user_is_closed_at_once(b: Backend) {
    let t = TestApp::start(b).await;
    let (admin, amy, bob) = (t.admin().await, t.user("amy").await, t.user("bob").await);
    let (mut one, mut two, mut other) = (connect(&t, &amy).await, connect(&t, &amy).await, connect(&t, &bob).await);
    admin.call(Method::POST, "/admin/users/amy/deactivate").await.expect(200);
    for socket in [&mut one, &mut two] {
        assert_eq!(socket.closed().await, 1008);
    }
    other.is_quiet().await;
    eventually("only one is left", async || connections(&bob).await == 1).await;
}

async fn erased_user_is_closed_and_not_made_anew(b: Backend) {
    let t = TestApp::start(b).await;
    let (mut socket, mut other) = (connect(&t, &t.user("amy").await).await, connect(&t, &t.user("bob").await).await);
    t.erase("amy").await.unwrap();
    assert_eq!(socket.closed().await, 1008);
    other.is_quiet().await;
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE id = 'amy'").await, 0, "an open connection is no request");
}

/// The one test that waits for the interval itself: nothing tells an instance without Redis what another one changes.
async fn connections_of_other_instances_end_within_a_minute(b: Backend) {
    let t = TestApp::start(b).await;
    let there = t.second(&[]).await;
    let (admin, amy, bob) = (t.admin().await, t.user("amy").await, t.user("bob").await);
    let (mut deactivated, mut erased) = (connect(&there, &amy).await, connect(&there, &bob).await);
    admin.call(Method::POST, "/admin/users/amy/deactivate").await.expect(200);
    t.erase("bob").await.unwrap();
    // The cached identity is older than it may be.
    t.clock.advance(TimeDelta::seconds(6));
    let minute = Duration::from_secs(60);
    let codes = tokio::join!(deactivated.closed_in(minute), erased.closed_in(minute));
    assert_eq!(codes, (1008, 1008));
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE id = 'bob'").await, 0);
}
