//! Where a stream goes on: after an id of the last hour, otherwise at the present end, with a word that something may be missing.

use chrono::TimeDelta;
use omnistack::app::feature::When;
use serde_json::json;

use super::{PATH, Stream, number};
use crate::harness::{Backend, Client, TestApp};

crate::on_both_backends![
    stream_resumes_after_id_in_header_or_query,
    id_too_old_unknown_or_ahead_gets_resync,
    idle_stream_keeps_its_id_fresh,
    swept_events_make_no_silent_gap,
];

/// Runs the hourly clean-up of the feature; returns how many rows went.
async fn sweep(t: &TestApp) -> u64 {
    let feature = t.app.features.iter().find(|feature| feature.name() == "events").unwrap();
    feature.cleanup(&t.app, When::Expired).await.unwrap().records
}

async fn stream_resumes_after_id_in_header_or_query(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let mut stream = Stream::ready(&amy).await;
    let mut ids = vec![stream.seen.clone()];
    for n in 1..=3 {
        amy.project(&format!("{n}")).await;
        stream.projects(1).await;
        ids.push(stream.seen.clone());
    }
    drop(stream);
    t.clock.advance(TimeDelta::minutes(59));
    amy.get("/app/users/me").await.expect(200);
    let (mut by_header, name) = Stream::from(&amy, Some(&ids[1])).await;
    assert_eq!((name.as_str(), by_header.seen.as_str()), ("ready", ids[1].as_str()));
    assert_eq!(by_header.projects(2).await, ["2", "3"]);
    let mut by_query = Stream::open(amy.get(PATH).query(&[("last_event_id", ids[2].as_str())])).await;
    assert_eq!((by_query.event().await.0.as_str(), by_query.projects(1).await), ("ready", vec!["3".to_owned()]));
    drop((by_header, by_query));
    // EventSource repeats the query of its URL, and sends what it has seen since in the header.
    let both = amy.get(PATH).query(&[("last_event_id", ids[0].as_str())]).header("last-event-id", &ids[2]);
    let mut both = Stream::open(both).await;
    assert_eq!((both.event().await.0.as_str(), both.projects(1).await), ("ready", vec!["3".to_owned()]));
    let mut empty = Stream::open(amy.get(PATH).query(&[("last_event_id", "")])).await;
    let (name, id, _) = empty.event().await;
    assert_eq!((name.as_str(), number(&id)), ("ready", 3));
}

/// The id of a client that has left.
async fn left(client: &Client) -> String {
    Stream::ready(client).await.seen
}

async fn id_too_old_unknown_or_ahead_gets_resync(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let start = left(&amy).await;
    amy.project("missed").await;
    let now = t.clock.now().timestamp();
    for (n, id) in [
        format!("0-{}", now - 3601),
        format!("99-{now}"),
        format!("0-{}", now + 3600),
        "garbage".to_owned(),
        "1".to_owned(),
        "-1-5".to_owned(),
        "9223372036854775807-9223372036854775807".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut stream, name) = Stream::from(&amy, Some(&id)).await;
        assert_eq!((name.as_str(), number(&stream.seen)), ("resync", i64::try_from(n).unwrap() + 1), "{id}");
        // What follows is sent.
        amy.project(&format!("{n}")).await;
        assert_eq!(stream.projects(1).await, [format!("{n}")]);
    }
    let unreadable = Stream::open(amy.get(PATH).header("last-event-id", b"\xff")).await.event().await;
    assert_eq!(unreadable.0, "resync");
    let (_, name) = Stream::from(&amy, Some(&start)).await;
    assert_eq!(name, "ready");
    // A minute past the hour it is too old.
    t.clock.advance(TimeDelta::minutes(61));
    let token = crate::harness::tokens::claims("amy", &t.clock).sign(crate::harness::SECRET);
    let (_, name) = Stream::from(&t.with_token(&token), Some(&start)).await;
    assert_eq!(name, "resync");
}

async fn idle_stream_keeps_its_id_fresh(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let mut stream = Stream::ready(&amy).await;
    let start = stream.seen.clone();
    t.clock.advance(TimeDelta::minutes(50));
    // A heartbeat: an id, and nothing that a client dispatches.
    let beat = stream.block().await.unwrap();
    assert_eq!((beat.event, beat.data, beat.id), (None, None, Some(format!("0-{}", t.clock.now().timestamp()))));
    assert_ne!(start, stream.seen);
    t.clock.advance(TimeDelta::minutes(50));
    let token = crate::harness::tokens::claims("amy", &t.clock).sign(crate::harness::SECRET);
    let amy = t.with_token(&token);
    assert_eq!(Stream::from(&amy, Some(&start)).await.1, "resync");
    assert_eq!(Stream::from(&amy, Some(&stream.seen)).await.1, "ready");
}

async fn swept_events_make_no_silent_gap(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let start = left(&amy).await;
    // Never numbered, because nobody reads.
    amy.project("missed").await;
    t.clock.advance(TimeDelta::minutes(60));
    assert_eq!(sweep(&t).await, 0);
    let token = crate::harness::tokens::claims("amy", &t.clock).sign(crate::harness::SECRET);
    let amy = t.with_token(&token);
    let (mut stream, name) = Stream::from(&amy, Some(&start)).await;
    assert_eq!((name.as_str(), stream.projects(1).await), ("ready", vec!["missed".to_owned()]));
    drop(stream);
    amy.post("/app/projects", json!({"name": "kept"})).await.expect(201);
    t.clock.advance(TimeDelta::minutes(16));
    assert_eq!((sweep(&t).await, sweep(&t).await), (1, 0));
    let (stream, name) = Stream::from(&amy, Some(&start)).await;
    assert_eq!((name.as_str(), number(&stream.seen)), ("resync", 2));
    assert_eq!(t.number("SELECT COUNT(*) FROM user_events").await, 1);
}
