//! Who is online, on one instance: changes, and the status.

use serde_json::json;

use super::{connect, connections};
use crate::harness::{Backend, TestApp, eventually};

crate::on_sqlite![
    presence_changes_with_first_and_last_connection,
    status_lists_who_is_online_for_admins_only,
    status_counts_connections_and_users,
];

fn told(kind: &str, user: &str) -> (String, String) {
    (kind.to_owned(), user.to_owned())
}

async fn presence_changes_with_first_and_last_connection(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob, cat) = (t.user("amy").await, t.user("bob").await, t.user("cat").await);
    let already = connect(&t, &cat).await;
    let mut watcher = connect(&t, &amy).await;
    watcher.subscribe("presence").await;
    let mut blind = connect(&t, &amy).await;
    let first = connect(&t, &bob).await;
    // Who was online before is not told, except that their own news may still be on the way.
    let mut next = watcher.presence().await;
    if next == told("user_online", "cat") {
        next = watcher.presence().await;
    }
    assert_eq!(next, told("user_online", "bob"));
    let second = connect(&t, &bob).await;
    drop(first);
    eventually("one connection of bob is gone", async || connections(&bob).await == 4).await;
    watcher.is_quiet().await;
    drop(second);
    assert_eq!(watcher.presence().await, told("user_offline", "bob"));
    drop(already);
    assert_eq!(watcher.presence().await, told("user_offline", "cat"));
    watcher.is_quiet().await;
    blind.is_quiet().await;
}

async fn status_lists_who_is_online_for_admins_only(b: Backend) {
    let t = TestApp::start(b).await;
    let (admin, amy) = (t.admin().await, t.user("amy").await);
    let status = async |client: &crate::harness::Client| client.get("/app/ws/status").await.expect(200);
    let nobody =
        json!({"status": "running", "local_connections": 0, "local_users": 0, "total_online_users": 0, "online_user_ids": []});
    assert_eq!(status(&admin).await, nobody);
    let _sockets = (connect(&t, &amy).await, connect(&t, &amy).await);
    let counted = |ids: &[&str]| {
        json!({"status": "running", "local_connections": 2, "local_users": 1, "total_online_users": 1, "online_user_ids": ids})
    };
    assert_eq!(status(&admin).await, counted(&["amy"]));
    assert_eq!(status(&amy).await, counted(&[]));
    t.anonymous().get("/app/ws/status").await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn status_counts_connections_and_users(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let mut sockets = Vec::new();
    for n in 0..103 {
        let token = crate::harness::tokens::claims(&format!("u{n}"), &t.clock).sign(crate::harness::SECRET);
        sockets.push(super::Socket::with_token(&t.url, &token).await);
    }
    let status = admin.get("/app/ws/status").await.expect(200);
    assert_eq!((&status["local_users"], &status["total_online_users"]), (&json!(103), &json!(103)));
    assert_eq!(status["online_user_ids"].as_array().unwrap().len(), 100, "the list is bounded");
    sockets.truncate(1);
    eventually("the others are gone", async || connections(&admin).await == 1).await;
    let status = admin.get("/app/ws/status").await.expect(200);
    assert_eq!(status["online_user_ids"], json!(["u0"]));
}
