//! Stream tickets: used again and again while their session is open, and good for nothing else.

use chrono::TimeDelta;
use http::Method;

use super::{PATH, Stream};
use crate::harness::accounts::Account;
use crate::harness::{Backend, Client, TestApp};

crate::on_both_backends![
    ticket_opens_streams_while_its_session_is_open,
    ticket_lives_as_long_as_the_token_of_another_provider,
    ticket_survives_a_change_of_the_secret,
    ticket_of_erased_user_makes_no_user,
];
crate::on_sqlite![kinds_of_tickets_and_tokens_do_not_mix];

/// A new ticket and its life in seconds.
async fn ticket(client: &Client) -> (String, i64) {
    let body = client.call(Method::POST, "/app/events/ticket").await.expect(200);
    (body["ticket"].as_str().unwrap().to_owned(), body["expires_in"].as_i64().unwrap())
}

async fn ready(t: &TestApp, ticket: &str) -> Stream {
    let mut stream = Stream::open(t.anonymous().get(PATH).query(&[("ticket", ticket)])).await;
    assert_eq!(stream.event().await.0, "ready");
    stream
}

async fn refused(t: &TestApp, ticket: &str) {
    t.anonymous().get(PATH).query(&[("ticket", ticket)]).await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn ticket_opens_streams_while_its_session_is_open(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let other = t.second_with_accounts(&[]).await;
    let Account { client, refresh, .. } = t.register("amy@example.test").await;
    let (ticket, life) = ticket(&client).await;
    assert_eq!(life, 24 * 3600);
    // Longer than the access token, on any instance, and as EventSource reconnects: with the id that it has seen.
    t.minutes_pass(16);
    client.get(PATH).await.expect_error(401, "AUTHENTICATION_ERROR");
    let mut stream = ready(&t, &ticket).await;
    let project = t.account(&t.refresh(&refresh).await.expect(200));
    project.client.project("Apollo").await;
    let mut there = Stream::open(other.anonymous().get(PATH).query(&[("ticket", &ticket)]).header("last-event-id", &stream.seen)).await;
    assert_eq!((there.event().await.0.as_str(), there.projects(1).await), ("ready", vec!["Apollo".to_owned()]));
    assert_eq!(stream.projects(1).await, ["Apollo"]);
    drop(there);
    project.client.call(Method::POST, "/app/auth/logout-all").await.expect(204);
    refused(&t, &ticket).await;
    t.clock.advance(TimeDelta::seconds(31));
    stream.end().await;
    refused(&other, &ticket).await;
}

async fn ticket_lives_as_long_as_the_token_of_another_provider(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let (ticket, life) = ticket(&amy).await;
    assert_eq!(life, 3600);
    t.clock.advance(TimeDelta::minutes(59));
    drop(ready(&t, &ticket).await);
    t.clock.advance(TimeDelta::minutes(1));
    refused(&t, &ticket).await;
    let logins = t.number("SELECT CAST(login_count AS BIGINT) FROM users WHERE id = 'amy'").await;
    assert_eq!(logins, 1, "a ticket is no login");
}

async fn kinds_of_tickets_and_tokens_do_not_mix(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let amy = t.register("amy@example.test").await;
    let (stream_ticket, _) = ticket(&amy.client).await;
    t.with_token(&stream_ticket).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.with_token(&stream_ticket).get(PATH).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.refresh(&stream_ticket).await.expect_error(401, "AUTHENTICATION_ERROR");
    let socket = amy.client.call(Method::POST, "/app/ws/ticket").await.expect(200);
    let access = amy.client.token.clone().unwrap();
    for other in [socket["ticket"].as_str().unwrap(), &access, &amy.refresh, "", "x", &"A".repeat(5000)] {
        refused(&t, other).await;
    }
    let mut forged = stream_ticket.clone().into_bytes();
    forged[20] = if forged[20] == b'A' { b'B' } else { b'A' };
    refused(&t, std::str::from_utf8(&forged).unwrap()).await;
    // A token in the header counts before a ticket.
    t.with_token("junk").get(PATH).query(&[("ticket", &stream_ticket)]).await.expect_error(401, "AUTHENTICATION_ERROR");
    let elsewhere = t.second_with_accounts(&[("SECRET_KEY", "the-service-secret-of-another-installation")]).await;
    refused(&elsewhere, &stream_ticket).await;
}

async fn ticket_survives_a_change_of_the_secret(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let amy = t.register("amy@example.test").await;
    let (ticket, _) = ticket(&amy.client).await;
    let new = t
        .second_with_accounts(&[
            ("SECRET_KEY", "the-service-secret-that-follows-the-first"),
            ("SECRET_KEY_PREVIOUS", "a-service-secret-for-tests-of-32-characters"),
        ])
        .await;
    ready(&new, &ticket).await;
}

async fn ticket_of_erased_user_makes_no_user(b: Backend) {
    let t = TestApp::start(b).await;
    let (ticket, _) = ticket(&t.user("amy").await).await;
    t.erase("amy").await.unwrap();
    refused(&t, &ticket).await;
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 0);
}
