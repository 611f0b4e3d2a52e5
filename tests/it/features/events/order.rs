//! Each committed event is sent exactly once, in the order of the ids, whatever the order of the commits.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::{Stream, commit, number, report};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![late_commit_is_not_skipped, parallel_changes_arrive_exactly_once, events_before_the_first_stream_are_not_sent];

async fn late_commit_is_not_skipped(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let mut stream = Stream::ready(&amy).await;
    let mut late = t.app.db.begin().await.unwrap();
    report(&t.app, &mut late, "amy", "late").await;
    // SQLite has one writer, so there the others follow.
    let mut late = Some(late);
    if b == Backend::Sqlite {
        late.take().unwrap().commit().await.unwrap();
    }
    commit(&t.app, "amy", "second").await;
    commit(&t.app, "amy", "third").await;
    let mut seen = stream.projects(2).await;
    let (before, id) = (stream.seen.clone(), number(&stream.seen));
    assert_eq!(id, 2);
    if let Some(late) = late {
        late.commit().await.unwrap();
    }
    seen.extend(stream.projects(1).await);
    assert_eq!(number(&stream.seen), 3);
    let expected = if b == Backend::Sqlite { ["late", "second", "third"] } else { ["second", "third", "late"] };
    assert_eq!(seen, expected);
    // A stream that is resumed gets it, too, and nothing twice.
    commit(&t.app, "amy", "fourth").await;
    let (mut resumed, _) = Stream::from(&amy, Some(&before)).await;
    assert_eq!(resumed.projects(2).await, [expected[2], "fourth"]);
}

async fn parallel_changes_arrive_exactly_once(b: Backend) {
    const CHANGES: usize = 50;
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let amy = t.user("amy").await;
    let there = other.with_token(amy.token.as_ref().unwrap());
    let first = Stream::ready(&amy).await;
    let start = first.seen.clone();
    drop(first);
    // Two streams that stay open race with them for the numbers.
    let watching: Vec<_> = [amy.clone(), there.clone()]
        .into_iter()
        .map(|client| {
            let start = start.clone();
            tokio::spawn(async move { Stream::from(&client, Some(&start)).await.0.projects(CHANGES).await })
        })
        .collect();
    let writing = tokio::spawn({
        let clients = [amy.clone(), there.clone()];
        async move {
            join_all((0..CHANGES).map(|n| {
                let client = clients[n % 2].clone();
                async move { client.project(&format!("{n}")).await }
            }))
            .await
        }
    });
    // Read in pieces, each from another instance and by a new stream.
    let (mut names, mut numbers, mut seen, mut round) = (Vec::new(), Vec::new(), start.clone(), 0);
    while names.len() < CHANGES {
        let (mut stream, name) = Stream::from([&amy, &there][round % 2], Some(&seen)).await;
        assert_eq!(name, "ready");
        for _ in 0..7.min(CHANGES - names.len()) {
            let (_, id, data) = stream.event().await;
            names.push(data["data"]["name"].as_str().unwrap().to_owned());
            numbers.push(number(&id));
        }
        seen.clone_from(&stream.seen);
        round += 1;
    }
    assert_eq!(writing.await.unwrap().len(), CHANGES);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), CHANGES, "none twice, none missing: {names:?}");
    assert_eq!(numbers, (1..=50).collect::<Vec<i64>>());
    for watched in watching {
        assert_eq!(watched.await.unwrap(), names);
    }
    // From the beginning again, by one stream: the same order, over several pages.
    amy.project("last").await;
    let (mut again, _) = Stream::from(&there, Some(&start)).await;
    names.push("last".to_owned());
    assert_eq!(again.projects(CHANGES + 1).await, names);
}

async fn events_before_the_first_stream_are_not_sent(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for n in 0..3 {
        amy.project(&format!("before {n}")).await;
    }
    let mut stream = Stream::ready(&amy).await;
    assert_eq!(number(&stream.seen), 3);
    amy.project("after").await;
    assert_eq!(stream.projects(1).await, ["after"]);
}
