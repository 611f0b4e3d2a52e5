//! WebSockets, as clients see them. Every file in this folder becomes a module automatically.

automod::dir!("tests/it/features/realtime");

use omnistack::features::realtime::service;
use omnistack::platform::id::UserId;

use crate::harness::{Client, TestApp};
use client::Socket;

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

/// Opens a connection of the client's user, and reads the first frame.
async fn connect(t: &TestApp, client: &Client) -> Socket {
    Socket::with_token(&t.url, client.token.as_ref().unwrap()).await
}

/// Lets the connections of a user check at once what they check every minute.
fn minute_passes(t: &TestApp, user: &str) {
    service::check(&t.app, &id(user));
}

/// The number of connections as the status tells it.
async fn connections(client: &Client) -> u64 {
    client.get("/app/ws/status").await.expect(200)["local_connections"].as_u64().unwrap()
}

/// The value of a line of the metrics page; 0 without it.
async fn metric(t: &TestApp, line: &str) -> u64 {
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    let value = page.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}
