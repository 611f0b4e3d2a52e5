//! Events of one instance reach streams of another, with Redis and without.

use std::time::{Duration, Instant};

use super::{Stream, commit};
use crate::harness::{Backend, TestApp, services};

crate::on_both_backends![event_without_redis_reaches_other_instances, event_with_redis_reaches_other_instances_at_once];

/// The longest time that an event of one instance takes to a stream of the other.
async fn slowest(t: &TestApp, other: &TestApp) -> Duration {
    let amy = t.user("amy").await;
    let there = other.with_token(amy.token.as_ref().unwrap());
    let mut stream = Stream::ready(&there).await;
    let mut slowest = Duration::ZERO;
    for n in 0..3 {
        let name = n.to_string();
        commit(&t.app, "amy", &name).await;
        let since = Instant::now();
        assert_eq!(stream.projects(1).await, [name]);
        slowest = slowest.max(since.elapsed());
    }
    slowest
}

async fn event_without_redis_reaches_other_instances(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let slowest = slowest(&t, &other).await;
    assert!(slowest < Duration::from_secs(6), "{slowest:?}");
}

async fn event_with_redis_reaches_other_instances_at_once(b: Backend) {
    let Some(redis) = services::redis() else { return };
    let prefix = format!("test-{}:", uuid::Uuid::now_v7());
    let vars = [("REDIS_URL", redis), ("REDIS_PREFIX", prefix.as_str())];
    let t = TestApp::with(b, &vars).await;
    let other = t.second(&vars).await;
    // The instances may not have subscribed yet.
    slowest(&t, &other).await;
    let slowest = slowest(&t, &other).await;
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
