//! Who may read a stream, how many at once, and when it ends.

use chrono::TimeDelta;
use http::Method;

use super::{PATH, Stream};
use crate::harness::tokens::claims;
use crate::harness::{Backend, SECRET, TestApp, eventually};

crate::on_both_backends![
    fourth_stream_is_refused_until_one_is_closed,
    stream_of_deactivated_user_ends,
    stream_ends_with_its_token,
    stream_ends_when_the_server_drains,
    head_takes_no_place,
];
crate::on_sqlite![stream_without_valid_token_is_refused];

async fn stream_without_valid_token_is_refused(b: Backend) {
    let t = TestApp::start(b).await;
    t.user("amy").await;
    t.anonymous().get(PATH).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.with_token("junk").get(PATH).await.expect_error(401, "AUTHENTICATION_ERROR");
    let expired = claims("amy", &t.clock).with("exp", (t.clock.now() - TimeDelta::hours(1)).timestamp().into()).sign(SECRET);
    let refused = t.with_token(&expired).get(PATH).await;
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    refused.expect_error(401, "AUTHENTICATION_ERROR");
    t.anonymous().call(Method::POST, "/app/events/ticket").await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn fourth_stream_is_refused_until_one_is_closed(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let first = Stream::ready(&amy).await;
    let _others = (Stream::ready(&amy).await, Stream::ready(&amy).await);
    let refused = amy.get(PATH).await;
    assert_eq!(refused.header("retry-after"), Some("10"));
    refused.expect_error(429, "RATE_LIMIT_EXCEEDED");
    Stream::ready(&bob).await;
    drop(first);
    eventually("the place is free", async || amy.get(PATH).open().await.status() == 200).await;
}

async fn head_takes_no_place(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for _ in 0..10 {
        eventually("a place is free", async || amy.call(Method::HEAD, PATH).await.status == 200).await;
    }
    eventually("a place is free", async || amy.get(PATH).open().await.status() == 200).await;
}

async fn stream_of_deactivated_user_ends(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    let mut stream = Stream::ready(&amy).await;
    t.clock.advance(TimeDelta::seconds(31));
    amy.project("still open").await;
    stream.projects(1).await;
    admin.call(Method::POST, "/admin/users/amy/deactivate").await.expect(200);
    t.clock.advance(TimeDelta::seconds(31));
    stream.end().await;
    amy.get(PATH).await.expect_error(403, "AUTHORIZATION_ERROR");
}

async fn stream_ends_with_its_token(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let stream = Stream::ready(&amy).await;
    t.clock.advance(TimeDelta::minutes(61));
    stream.end().await;
}

async fn stream_ends_when_the_server_drains(b: Backend) {
    let t = TestApp::with(b, &[("SHUTDOWN_GRACE_SECONDS", "1")]).await;
    let amy = t.user("amy").await;
    let (mut one, two) = (Stream::ready(&amy).await, Stream::ready(&amy).await);
    amy.project("before").await;
    one.projects(1).await;
    drop(two);
    t.app.phase.drain();
    let since = std::time::Instant::now();
    one.end().await;
    assert!(since.elapsed() < std::time::Duration::from_secs(2), "{:?}", since.elapsed());
}
