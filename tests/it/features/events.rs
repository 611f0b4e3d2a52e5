//! Event streams: what arrives, in which order, from where a stream goes on, and who may read it.

mod access;
mod instances;
mod order;
mod restart;
mod resume;
mod tickets;

use std::time::Duration;

use omnistack::app::App;
use omnistack::app::news::{Action, Change, Notice};
use omnistack::platform::db::Tx;
use omnistack::platform::id::UserId;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{Backend, Call, Client, TestApp};

crate::on_both_backends![
    change_and_notice_arrive_in_the_form_of_frames,
    stream_has_headers_of_an_event_stream_uncompressed,
    change_that_is_rolled_back_is_no_event,
    events_of_another_user_are_never_seen,
    erasing_removes_events_and_ends_streams,
    open_streams_are_counted,
];

const PATH: &str = "/app/events";

/// A block of a stream: fields up to a blank line.
#[derive(Debug, Clone, Default, PartialEq)]
struct Block {
    event: Option<String>,
    id: Option<String>,
    data: Option<Value>,
    retry: Option<u64>,
}

/// An open stream.
struct Stream {
    response: reqwest::Response,
    unread: String,
    /// The last id, as a client remembers it.
    seen: String,
}

impl Stream {
    async fn open(call: Call) -> Self {
        let response = call.open().await;
        assert_eq!(response.status(), 200);
        Self { response, unread: String::new(), seen: String::new() }
    }

    /// Opens a stream, which goes on from this id, and reads its first event.
    async fn from(client: &Client, id: Option<&str>) -> (Self, String) {
        let call = client.get(PATH);
        let mut stream = Self::open(match id {
            Some(id) => call.header("last-event-id", id),
            None => call,
        })
        .await;
        let (name, _, data) = stream.event().await;
        assert_eq!(data, json!({}));
        (stream, name)
    }

    async fn ready(client: &Client) -> Self {
        let (stream, name) = Self::from(client, None).await;
        assert_eq!(name, "ready");
        stream
    }

    /// The next block; `None` at the end of the stream.
    async fn block(&mut self) -> Option<Block> {
        let end = loop {
            if let Some(at) = self.unread.find("\n\n") {
                break at;
            }
            let more = timeout(Duration::from_secs(20), self.response.chunk()).await.unwrap_or_else(|_| panic!("nothing was sent"));
            let more = more.unwrap()?;
            self.unread.push_str(std::str::from_utf8(&more).unwrap());
        };
        let text: String = self.unread.drain(..end + 2).collect();
        let mut block = Block::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "event" => block.event = Some(value.to_owned()),
                "id" => block.id = Some(value.to_owned()),
                "data" => block.data = Some(serde_json::from_str(value).unwrap()),
                "retry" => block.retry = Some(value.parse().unwrap()),
                _ => panic!("{text}"),
            }
        }
        if let Some(id) = &block.id {
            id.clone_into(&mut self.seen);
        }
        Some(block)
    }

    /// The next event: name, id, data.
    async fn event(&mut self) -> (String, String, Value) {
        loop {
            let block = self.block().await.unwrap_or_else(|| panic!("the stream ended"));
            if let (Some(event), Some(id), Some(data)) = (block.event, block.id, block.data) {
                return (event, id, data);
            }
        }
    }

    /// The names of the next projects that were created.
    async fn projects(&mut self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        while names.len() < count {
            let (_, _, data) = self.event().await;
            names.push(data["data"]["name"].as_str().unwrap().to_owned());
        }
        names
    }

    /// Reads until the stream ends; there must be no further event.
    async fn end(mut self) {
        while let Some(block) = self.block().await {
            assert_eq!(block.event, None, "{block:?}");
        }
    }
}

/// The number in an id.
fn number(id: &str) -> i64 {
    id.split_once('-').unwrap().0.parse().unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// Reports a change of a thing in an open transaction.
async fn report(app: &App, tx: &mut Tx, owner: &str, id: &str) {
    let data = Some(json!({"name": id}));
    let change = Change { owner: user(owner), resource: "thing", action: Action::Updated, id: id.to_owned(), data };
    app.changed(tx, &change).await.unwrap();
}

async fn commit(app: &App, owner: &str, id: &str) {
    let mut tx = app.db.begin().await.unwrap();
    report(app, &mut tx, owner, id).await;
    tx.commit().await.unwrap();
}

async fn change_and_notice_arrive_in_the_form_of_frames(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let mut stream = Stream::open(amy.get(PATH)).await;
    let retry = stream.block().await.unwrap().retry.unwrap();
    assert!((2000..=6000).contains(&retry), "{retry}");
    let ready = stream.block().await.unwrap();
    assert_eq!((ready.event.as_deref(), ready.data, number(&ready.id.unwrap())), (Some("ready"), Some(json!({})), 0));

    let project = amy.project("Apollo \"11\"\nünï").await;
    let id = project["id"].as_str().unwrap();
    let (event, first, data) = stream.event().await;
    let created = json!({"resource": "project", "action": "created", "resource_id": id, "data": project});
    assert_eq!((event.as_str(), number(&first), data), ("update", 1, created));

    let path = format!("/app/projects/{id}");
    let changed = amy.patch(&path, json!({"name": "Gemini"})).await.expect(200);
    let (_, _, data) = stream.event().await;
    assert_eq!(data, json!({"resource": "project", "action": "updated", "resource_id": id, "data": changed}));
    amy.delete(&path).await.expect(204);
    let (_, third, data) = stream.event().await;
    assert_eq!((number(&third), data), (3, json!({"resource": "project", "action": "deleted", "resource_id": id})));

    let mut tx = t.app.db.begin().await.unwrap();
    let (title, text) = ("Nearly full".to_owned(), "80 % are used.".to_owned());
    let notice = Notice { user: user("amy"), kind: "usage_warning", title, text, data: json!({"metric": "ai_requests"}) };
    t.app.notify(&mut tx, &notice).await.unwrap();
    tx.commit().await.unwrap();
    let (event, _, data) = stream.event().await;
    let data_of_notice = json!({"kind": "usage_warning", "details": {"metric": "ai_requests"}});
    assert_eq!(event, "notification");
    assert_eq!(data, json!({"title": "Nearly full", "body": "80 % are used.", "data": data_of_notice}));
}

async fn stream_has_headers_of_an_event_stream_uncompressed(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let mut stream = Stream::open(amy.get(PATH).header("accept-encoding", "gzip")).await;
    let header = |name: &str| stream.response.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!((header("content-type"), header("cache-control")), (Some("text/event-stream"), Some("no-cache")));
    assert_eq!((header("content-encoding"), header("content-length"), header("x-accel-buffering")), (None, None, Some("no")));
    assert_eq!(stream.event().await.0, "ready");
}

async fn change_that_is_rolled_back_is_no_event(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let mut stream = Stream::ready(&amy).await;
    let mut tx = t.app.db.begin().await.unwrap();
    report(&t.app, &mut tx, "amy", "undone").await;
    drop(tx);
    commit(&t.app, "amy", "done").await;
    let (_, id, data) = stream.event().await;
    assert_eq!((number(&id), &data["resource_id"]), (1, &json!("done")));
}

async fn events_of_another_user_are_never_seen(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (mut hers, mut his) = (Stream::ready(&amy).await, Stream::ready(&bob).await);
    for n in 0..5 {
        amy.project(&format!("amy {n}")).await;
        bob.project(&format!("bob {n}")).await;
    }
    assert_eq!(hers.projects(5).await, ["amy 0", "amy 1", "amy 2", "amy 3", "amy 4"]);
    assert_eq!(his.projects(5).await, ["bob 0", "bob 1", "bob 2", "bob 3", "bob 4"]);
    // Another user's id is a place among one's own events.
    bob.project("bob 5").await;
    let (mut resumed, name) = Stream::from(&bob, Some(&hers.seen)).await;
    assert_eq!((name.as_str(), resumed.projects(1).await), ("ready", vec!["bob 5".to_owned()]));
}

async fn erasing_removes_events_and_ends_streams(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let mut stream = Stream::ready(&amy).await;
    Stream::ready(&bob).await;
    amy.project("Apollo").await;
    bob.project("Gemini").await;
    stream.projects(1).await;
    t.erase("amy").await.unwrap();
    t.clock.advance(chrono::TimeDelta::seconds(31));
    stream.end().await;
    assert_eq!(t.texts("SELECT user_id FROM user_events").await, ["bob"]);
    assert_eq!(t.texts("SELECT user_id FROM event_positions").await, ["bob"]);
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE id = 'amy'").await, 0, "an open stream makes no user");
}

async fn open_streams_are_counted(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let open = async |count: usize| {
        let page = t.anonymous().get("/public/metrics").await.expect_text(200);
        page.lines().any(|line| line == format!("event_streams {count}"))
    };
    assert!(open(0).await);
    let streams = (Stream::ready(&amy).await, Stream::ready(&amy).await);
    assert!(open(2).await);
    drop(streams);
    crate::harness::eventually("closed streams are not counted", async || open(0).await).await;
}
