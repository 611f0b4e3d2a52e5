//! Several instances that share Redis: each message once, presence across them, and what happens while Redis is away.
#![cfg(feature = "redis")]

use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client as Redis, cmd};
use futures_util::StreamExt;
use omnistack::features::realtime::service::{self, Push};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::Socket;
use super::{connect, id};
use crate::harness::proxy::Proxy;
use crate::harness::raw::within;
use crate::harness::{Backend, Client, TestApp, eventually};
use crate::limits::{prefix, redis_vars};

crate::on_both_backends![change_of_project_reaches_other_instances_once];

crate::on_sqlite![
    message_reaches_subscribers_of_all_instances_once,
    pushes_reach_all_instances_once,
    presence_counts_connections_of_all_instances,
    payload_between_instances_has_its_four_members,
    message_of_another_instance_is_delivered_as_it_says,
    garbage_between_instances_is_ignored,
    users_of_crashed_instance_go_offline,
    lost_presence_in_redis_is_written_again,
    redis_outage_closes_nothing_and_heals,
];

/// Two instances on one database and one Redis.
struct Pair {
    here: TestApp,
    there: TestApp,
    redis: Redis,
    prefix: String,
}

impl Pair {
    /// `None` without Redis.
    async fn start(b: Backend) -> Option<Self> {
        let prefix = prefix();
        let vars = redis_vars(&prefix)?;
        let here = TestApp::with(b, &vars).await;
        let there = here.second(&vars).await;
        let redis = Redis::open(vars[0].1).unwrap();
        Some(Self { here, there, redis, prefix })
    }

    fn key(&self, name: &str) -> String {
        format!("{}ws:{name}", self.prefix)
    }

    async fn redis(&self) -> MultiplexedConnection {
        self.redis.get_multiplexed_async_connection().await.unwrap()
    }

    /// Publishes as another instance would.
    async fn publish(&self, texts: &[&str]) {
        let mut redis = self.redis().await;
        for text in texts {
            cmd("PUBLISH").arg(self.key("messages")).arg(*text).query_async::<()>(&mut redis).await.unwrap();
        }
    }

    async fn online(&self, client: &Client) -> u64 {
        client.get("/app/ws/status").await.expect(200)["total_online_users"].as_u64().unwrap()
    }
}

fn notification(title: &str) -> Push {
    Push::Notification { title: title.to_owned(), body: String::new(), data: None }
}

async fn message_reaches_subscribers_of_all_instances_once(b: Backend) {
    let Some(pair) = Pair::start(b).await else { return };
    let (amy, bob) = (pair.here.user("amy").await, pair.here.user("bob").await);
    let (mut amy_here, mut amy_there) = (connect(&pair.here, &amy).await, connect(&pair.there, &amy).await);
    let (mut bob_here, mut bob_there) = (connect(&pair.here, &bob).await, connect(&pair.there, &bob).await);
    for socket in [&mut amy_here, &mut amy_there, &mut bob_here, &mut bob_there] {
        socket.subscribe("room:a").await;
    }
    // At once: `subscribed` means that nothing is missed.
    for n in 0..50 {
        amy_here.publish("room:a", json!(n)).await;
    }
    amy_there.publish("room:a", json!("other way")).await;
    bob_here.send(json!({"type": "message", "channel": "room:a", "data": "end"})).await;
    for socket in [&mut bob_here, &mut bob_there] {
        let mut got = Vec::new();
        for _ in 0..51 {
            got.push(socket.content().await);
        }
        let counted: Vec<_> = got.iter().filter(|content| content.is_number()).cloned().collect();
        assert_eq!(counted, (0..50).map(|n| json!(n)).collect::<Vec<_>>(), "once, and in order");
        assert!(got.contains(&json!("other way")));
    }
    for socket in [&mut amy_here, &mut amy_there] {
        assert_eq!(socket.content().await, "end", "nothing of her own before");
    }
    for socket in [&mut amy_here, &mut amy_there, &mut bob_here, &mut bob_there] {
        socket.is_quiet().await;
    }
}

async fn pushes_reach_all_instances_once(b: Backend) {
    let Some(pair) = Pair::start(b).await else { return };
    let (amy, bob) = (pair.here.user("amy").await, pair.here.user("bob").await);
    let (mut amy_here, mut amy_there) = (connect(&pair.here, &amy).await, connect(&pair.there, &amy).await);
    let mut bob_there = connect(&pair.there, &bob).await;
    // Until the subscription is confirmed, Redis may not be listened to.
    for socket in [&mut amy_here, &mut amy_there, &mut bob_there] {
        socket.subscribe("system").await;
    }
    let app = &pair.here.app;
    service::send_to_user(app, &id("amy"), &notification("hers"));
    service::send_to_channel(app, "system", &notification("not bob's"), Some(&id("bob")));
    service::send_to_channel(app, "system", &notification("channel"), None);
    service::broadcast(app, &notification("all"));
    for (socket, titles) in [
        (&mut amy_here, &["hers", "not bob's", "channel", "all"][..]),
        (&mut amy_there, &["hers", "not bob's", "channel", "all"]),
        (&mut bob_there, &["channel", "all"]),
    ] {
        for title in titles {
            assert_eq!(socket.expect("notification").await["data"]["title"], *title);
        }
        socket.is_quiet().await;
    }
}

async fn change_of_project_reaches_other_instances_once(b: Backend) {
    let Some(pair) = Pair::start(b).await else { return };
    let amy = pair.here.user("amy").await;
    let project = amy.project("first").await["id"].as_str().unwrap().to_owned();
    let channel = format!("project:{project}");
    let (mut listening, mut silent) = (connect(&pair.there, &amy).await, connect(&pair.there, &amy).await);
    listening.subscribe(&channel).await;
    silent.subscribe("system").await;
    let changed = amy.patch(&format!("/app/projects/{project}"), json!({"name": "second"})).await.expect(200);
    service::broadcast(&pair.here.app, &notification("end"));
    for (socket, on) in [(&mut listening, json!(channel)), (&mut silent, Value::Null)] {
        let frame = socket.expect("update").await;
        assert_eq!((&frame["data"]["data"], &frame["channel"]), (&changed, &on));
        socket.expect("notification").await;
        socket.is_quiet().await;
    }
}

async fn presence_counts_connections_of_all_instances(b: Backend) {
    let Some(pair) = Pair::start(b).await else { return };
    let (here, there) = (&pair.here, &pair.there);
    let admin = here.admin().await;
    let mut users = Vec::new();
    for name in ["amy", "bob", "cat", "watcher"] {
        users.push(here.user(name).await);
    }
    let [amy, bob, cat, watcher] = users.as_slice() else { panic!() };
    let mut watchers = [connect(here, watcher).await, connect(there, watcher).await];
    for socket in &mut watchers {
        socket.subscribe("presence").await;
    }
    // Each change is told after those that must not be.
    let told = async |watchers: &mut [Socket; 2], kind: &str, user: &str| {
        for socket in watchers {
            assert_eq!(socket.presence().await, (kind.to_owned(), user.to_owned()));
        }
    };
    let amy_here = connect(here, amy).await;
    told(&mut watchers, "user_online", "amy").await;
    let amy_there = connect(there, amy).await;
    let bob_there = connect(there, bob).await;
    told(&mut watchers, "user_online", "bob").await;
    drop(amy_here);
    let status = async || admin.get("/app/ws/status").await.expect(200);
    eventually("amy is gone here", async || status().await["local_users"] == 1).await;
    let _cat_here = connect(here, cat).await;
    told(&mut watchers, "user_online", "cat").await;
    let now = status().await;
    let mut ids: Vec<_> = now["online_user_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["amy", "bob", "cat", "watcher"]);
    assert_eq!((&now["local_connections"], &now["total_online_users"]), (&json!(2), &json!(4)));
    drop(amy_there);
    told(&mut watchers, "user_offline", "amy").await;
    drop(bob_there);
    told(&mut watchers, "user_offline", "bob").await;
    assert_eq!(pair.online(&admin).await, 2);
}

async fn payload_between_instances_has_its_four_members(b: Backend) {
    let Some(pair) = Pair::start(b).await else { return };
    let (amy, bob) = (pair.here.user("amy").await, pair.there.user("bob").await);
    let mut listening = pair.redis.get_async_pubsub().await.unwrap();
    listening.subscribe(pair.key("messages")).await.unwrap();
    let mut listening = listening.into_on_message();
    let (mut socket, mut other) = (connect(&pair.here, &amy).await, connect(&pair.here, &bob).await);
    socket.subscribe("room:a").await;
    other.subscribe("room:a").await;
    socket.publish("room:a", json!({"x": [1, null]})).await;
    let sent = other.expect("message").await;
    service::send_to_user(&pair.here.app, &id("bob"), &notification("n"));
    let pushed = other.expect("notification").await;
    service::broadcast(&pair.here.app, &notification("all"));
    let all = other.expect("notification").await;
    let mut next = async || {
        loop {
            let message = within("a message between instances", listening.next()).await.unwrap();
            let payload: Value = serde_json::from_str(&message.get_payload::<String>().unwrap()).unwrap();
            let mut keys: Vec<_> = payload.as_object().unwrap().keys().map(String::as_str).collect();
            keys.sort_unstable();
            assert_eq!(keys, ["exclude_user_id", "message", "origin", "target"], "{payload}");
            if payload["target"] != "channel:presence" {
                return payload;
            }
        }
    };
    let mut origins = Vec::new();
    for (target, message, excluded) in
        [("channel:room:a", &sent, json!("amy")), ("user:bob", &pushed, Value::Null), ("broadcast", &all, Value::Null)]
    {
        let payload = next().await;
        assert_eq!((&payload["target"], &payload["message"], &payload["exclude_user_id"]), (&json!(target), message, &excluded));
        origins.push(payload["origin"].as_str().unwrap().to_owned());
    }
    assert_eq!(socket.expect("notification").await, all);
    service::send_to_user(&pair.there.app, &id("amy"), &notification("from there"));
    let from_there = socket.expect("notification").await;
    let payload = next().await;
    assert_eq!((&payload["target"], &payload["message"]), (&json!("user:amy"), &from_there));
    assert!(origins.iter().all(|origin| !origin.is_empty() && *origin == origins[0]), "{origins:?}");
    assert_ne!(payload["origin"], origins[0]);
}

/// A payload of an instance that the test plays.
fn payload(target: &str, kind: &str, excluded: Option<&str>) -> String {
    let message = json!({"type": kind, "data": {"n": 1}, "timestamp": "2026-01-01T00:00:00.000000Z", "channel": null});
    json!({"origin": "another", "target": target, "message": message, "exclude_user_id": excluded}).to_string()
}

async fn message_of_another_instance_is_delivered_as_it_says(b: Backend) {
    let Some(pair) = Pair::start(b).await else { return };
    let (amy, bob) = (pair.here.user("a:m|y").await, pair.here.user("bob").await);
    let (mut amy, mut bob) = (connect(&pair.here, &amy).await, connect(&pair.here, &bob).await);
    for socket in [&mut amy, &mut bob] {
        socket.subscribe("room:a:b").await;
    }
    let sent = [
        payload("user:a:m|y", "first", None),
        payload("channel:room:a:b", "second", Some("bob")),
        payload("channel:room:a", "nobody's", None),
        payload("user:bob", "third", None),
        // A type that this version does not know.
        payload("broadcast", "heartbeat", None),
    ];
    pair.publish(&sent.each_ref().map(String::as_str)).await;
    for (socket, kinds) in [(&mut amy, ["first", "second", "heartbeat"].as_slice()), (&mut bob, &["third", "heartbeat"])] {
        for kind in kinds {
            assert_eq!(socket.expect(kind).await["data"], json!({"n": 1}));
        }
        socket.is_quiet().await;
    }
}

async fn garbage_between_instances_is_ignored(b: Backend) {
    let Some(pair) = Pair::start(b).await else { return };
    let amy = pair.here.user("amy").await;
    let mut socket = connect(&pair.here, &amy).await;
    socket.subscribe("room:a").await;
    let no_type = json!({"origin": "x", "target": "broadcast", "message": {}, "exclude_user_id": null}).to_string();
    let no_frame = json!({"origin": "x", "target": "broadcast", "message": "text", "exclude_user_id": null}).to_string();
    let number = json!({"origin": 7, "target": "broadcast", "message": {"type": "x"}, "exclude_user_id": 7}).to_string();
    let (unknown, nobody, empty) = (payload("planet:mars", "x", None), payload("user:", "x", None), payload("", "x", None));
    let texts = ["", "x", "{}", "null", "[1]", "{\"origin\":", "\u{0}", &no_type, &no_frame, &number, &unknown, &nobody, &empty];
    pair.publish(&texts).await;
    let mut redis = pair.redis().await;
    cmd("PUBLISH").arg(pair.key("messages")).arg(&[0xff_u8, 0xfe][..]).query_async::<()>(&mut redis).await.unwrap();
    pair.publish(&[&payload("broadcast", "heartbeat", None)]).await;
    socket.expect("heartbeat").await;
    socket.is_quiet().await;
}

async fn users_of_crashed_instance_go_offline(b: Backend) {
    let Some(pair) = Pair::start(b).await else { return };
    let (admin, amy, watcher) = (pair.here.admin().await, pair.here.user("amy").await, pair.here.user("watcher").await);
    let mut watcher = connect(&pair.here, &watcher).await;
    watcher.subscribe("presence").await;
    let _amy = connect(&pair.there, &amy).await;
    assert_eq!(watcher.presence().await, ("user_online".to_owned(), "amy".to_owned()));
    // As if it had been renewed long ago; more users than are removed at once, and one who is connected elsewhere.
    let mut redis = pair.redis().await;
    let ghosts: Vec<_> = (0..250).map(|n| format!("ghost{n:03}")).collect();
    for key in ["online", "online:crashed"] {
        cmd("SADD").arg(pair.key(key)).arg(&ghosts).arg("amy").query_async::<()>(&mut redis).await.unwrap();
    }
    cmd("ZADD").arg(pair.key("instances")).arg(1).arg("crashed").query_async::<()>(&mut redis).await.unwrap();
    let mut gone = Vec::new();
    for _ in 0..ghosts.len() {
        let (kind, user) = watcher.presence().await;
        assert_eq!(kind, "user_offline");
        gone.push(user);
    }
    gone.sort_unstable();
    assert_eq!(gone, ghosts, "each once, and amy not");
    eventually("the crashed instance is forgotten", async || {
        let mut redis = redis.clone();
        let known: Vec<String> = cmd("ZRANGE").arg(pair.key("instances")).arg(0).arg(-1).query_async(&mut redis).await.unwrap();
        known.len() == 2 && !known.contains(&"crashed".to_owned())
    })
    .await;
    assert_eq!(pair.online(&admin).await, 2);
    watcher.is_quiet().await;
}

async fn lost_presence_in_redis_is_written_again(b: Backend) {
    let Some(pair) = Pair::start(b).await else { return };
    let (admin, amy, bob) = (pair.here.admin().await, pair.here.user("amy").await, pair.here.user("bob").await);
    let (mut amy, _bob) = (connect(&pair.here, &amy).await, connect(&pair.there, &bob).await);
    eventually("both are online", async || pair.online(&admin).await == 2).await;
    amy.subscribe("presence").await;
    let mut redis = pair.redis().await;
    let keys: Vec<String> = cmd("KEYS").arg(pair.key("*")).query_async(&mut redis).await.unwrap();
    cmd("DEL").arg(keys).query_async::<()>(&mut redis).await.unwrap();
    eventually("both are online again", async || pair.online(&admin).await == 2).await;
    amy.is_quiet().await;
}

async fn redis_outage_closes_nothing_and_heals(b: Backend) {
    let prefix = prefix();
    let Some(vars) = redis_vars(&prefix) else { return };
    let (proxy, url) = Proxy::before(vars[0].1).await;
    let here = TestApp::with(b, &[("REDIS_URL", url.as_str()), ("REDIS_PREFIX", prefix.as_str())]).await;
    let there = here.second(&vars).await;
    let (amy, bob) = (here.user("amy").await, here.user("bob").await);
    let (mut amy_here, mut bob_here) = (connect(&here, &amy).await, connect(&here, &bob).await);
    let mut amy_there = connect(&there, &amy).await;
    for socket in [&mut amy_here, &mut bob_here, &mut amy_there] {
        socket.subscribe("room:a").await;
    }
    amy_there.publish("room:a", json!("before")).await;
    assert_eq!(bob_here.content().await, "before");
    proxy.cut();
    // Within the instance everything works.
    for n in 0..3 {
        amy_here.publish("room:a", json!(n)).await;
        assert_eq!(bob_here.content().await, n);
    }
    let cat = here.user("cat").await;
    let mut cat_here = connect(&here, &cat).await;
    cat_here.subscribe("room:a").await;
    bob_here.publish("room:a", json!("still")).await;
    assert_eq!(cat_here.content().await, "still");
    assert_eq!(amy_here.content().await, "still");
    let status = bob.get("/app/ws/status").await.expect(200);
    assert_eq!((&status["local_users"], &status["total_online_users"]), (&json!(3), &json!(3)), "of this instance alone");
    proxy.mend();
    // Both ways again, on the same connections. What was sent meanwhile is lost.
    hears(&mut bob_here, || service::send_to_channel(&there.app, "room:a", &notification("from there"), None), "from there").await;
    hears(&mut amy_there, || service::send_to_channel(&here.app, "room:a", &notification("from here"), None), "from here").await;
    eventually("everybody is online again for both", async || {
        let token = amy.token.as_ref().unwrap();
        let status = there.with_token(token).get("/app/ws/status").await.expect(200);
        status["total_online_users"] == 3
    })
    .await;
}

/// Sends again and again, until the connection gets the notification.
async fn hears(socket: &mut Socket, send: impl Fn(), title: &str) {
    for _ in 0..400 {
        send();
        while let Ok(frame) = timeout(Duration::from_millis(50), socket.frame()).await {
            if frame["data"]["title"] == title {
                return;
            }
        }
    }
    panic!("{title} is never heard");
}
