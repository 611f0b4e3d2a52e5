//! A process that is killed: its users go offline for the others.
#![cfg(feature = "redis")]

use deadpool_redis::redis::{Client as Redis, cmd};

use super::client::Socket;
use super::process::token;
use crate::harness::database::Database;
use crate::harness::process::{Place, Server, until};
use crate::harness::Backend;
use crate::limits::{prefix, redis_vars};

crate::on_sqlite![users_of_killed_process_go_offline, users_of_stopped_process_go_offline_at_once, deaf_client_of_stopped_process_goes_offline];

/// Two processes on one database and one Redis; `None` without Redis.
async fn two(b: Backend, prefix: &str) -> Option<(Database, Place, Redis)> {
    let vars = redis_vars(prefix)?;
    let database = Database::create(b).await;
    let place = Place::of(&database)
        .with("SHUTDOWN_GRACE_SECONDS", "2")
        .with("SHUTDOWN_DELAY_SECONDS", "0")
        .with(vars[0].0, vars[0].1)
        .with(vars[1].0, vars[1].1);
    Some((database, place, Redis::open(vars[0].1).unwrap()))
}

fn told(kind: &str, user: &str) -> (String, String) {
    (kind.to_owned(), user.to_owned())
}

/// Stops a process while its client answers; returns the exit code.
async fn stop(mut process: Server, client: &mut Socket) -> i32 {
    process.signal("TERM");
    assert_eq!(client.closed().await, 1001);
    process.ended().await.code().unwrap()
}

async fn users_of_killed_process_go_offline(b: Backend) {
    let prefix = prefix();
    let Some((_database, place, redis)) = two(b, &prefix).await else { return };
    let (mut killed, left) = (place.serve().await, place.serve().await);
    let _amy = Socket::with_token(&killed.url, &token("amy")).await;
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{prefix}ws:instances");
    let instance: Vec<String> = until("the instance is known", async || {
        let mut redis = redis.clone();
        let known: Vec<String> = cmd("ZRANGE").arg(&key).arg(0).arg(-1).query_async(&mut redis).await.unwrap();
        (known.len() == 1).then_some(known)
    })
    .await;
    let mut watcher = Socket::with_token(&left.url, &token("watcher")).await;
    watcher.subscribe("presence").await;
    let _both = (Socket::with_token(&killed.url, &token("bob")).await, Socket::with_token(&left.url, &token("bob")).await);
    assert_eq!(watcher.presence().await, told("user_online", "bob"));
    killed.signal("KILL");
    killed.ended().await;
    // As if its last renewal were long ago.
    cmd("ZADD").arg(&key).arg(1).arg(&instance).query_async::<()>(&mut redis).await.unwrap();
    assert_eq!(watcher.presence().await, told("user_offline", "amy"));
    watcher.is_quiet().await;
    left.stop().await;
}

async fn users_of_stopped_process_go_offline_at_once(b: Backend) {
    let prefix = prefix();
    let Some((_database, place, redis)) = two(b, &prefix).await else { return };
    let (stopped, left) = (place.serve().await, place.serve().await);
    let mut watcher = Socket::with_token(&left.url, &token("watcher")).await;
    watcher.subscribe("presence").await;
    let mut amy = Socket::with_token(&stopped.url, &token("amy")).await;
    assert_eq!(watcher.presence().await, told("user_online", "amy"));
    assert_eq!(stop(stopped, &mut amy).await, 0);
    assert_eq!(watcher.presence().await, told("user_offline", "amy"));
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let known: u64 = cmd("ZCARD").arg(format!("{prefix}ws:instances")).query_async(&mut redis).await.unwrap();
    assert_eq!(known, 1);
    assert_eq!(stop(left, &mut watcher).await, 0);
    // The mark of a new Redis ends by itself.
    let known: Vec<String> = cmd("KEYS").arg(format!("{prefix}ws:[^f]*")).query_async(&mut redis).await.unwrap();
    assert_eq!(known, Vec::<String>::new());
}

async fn deaf_client_of_stopped_process_goes_offline(b: Backend) {
    let prefix = prefix();
    let Some((_database, place, _)) = two(b, &prefix).await else { return };
    let (mut stopped, left) = (place.serve().await, place.serve().await);
    let mut watcher = Socket::with_token(&left.url, &token("watcher")).await;
    watcher.subscribe("presence").await;
    let _deaf = Socket::with_token(&stopped.url, &token("deaf")).await;
    assert_eq!(watcher.presence().await, told("user_online", "deaf"));
    stopped.signal("TERM");
    // The grace is over before the time for a reply is.
    stopped.ended().await;
    assert_eq!(watcher.presence().await, told("user_offline", "deaf"));
    assert_eq!(stop(left, &mut watcher).await, 0);
}
