//! Who may subscribe to a channel and publish on it.

use serde_json::json;

use super::client::Socket;
use super::{connect, minute_passes};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    users_have_the_rights_of_the_table,
    admins_have_the_rights_of_the_table,
    demoted_admin_loses_the_admin_channel,
    owner_of_deleted_project_loses_its_channel,
];

crate::on_sqlite![presence_is_for_those_whom_the_setting_names, rooms_may_be_switched_off];

/// Everything is allowed to those who subscribe.
const OPEN: [&str; 3] = ["NOT_SUBSCRIBED", "subscribed", "ack"];
const LISTEN: [&str; 3] = ["FORBIDDEN", "subscribed", "FORBIDDEN"];
const NONE: [&str; 3] = ["FORBIDDEN", "FORBIDDEN", "FORBIDDEN"];

/// What a connection gets that publishes, subscribes, and publishes again: the permission is checked before the subscription.
async fn rights(socket: &mut Socket, channel: &str) -> [String; 3] {
    let mut got = Vec::new();
    for kind in ["message", "subscribe", "message"] {
        let mut reply = socket.ask(json!({"type": kind, "channel": channel, "data": "x", "id": "m"})).await;
        if channel == "presence" && reply["channel"] == "presence" && reply["type"] != "subscribed" {
            // The change of presence of the user itself.
            reply = socket.frame().await;
        }
        let told = if reply["type"] == "error" { &reply["data"]["code"] } else { &reply["type"] };
        got.push(told.as_str().unwrap().to_owned());
    }
    socket.send(json!({"type": "unsubscribe", "channel": channel})).await;
    socket.skip_to("unsubscribed").await;
    got.try_into().unwrap()
}

async fn have_rights(socket: &mut Socket, expected: [&str; 3], channels: &[&str]) {
    for channel in channels {
        assert_eq!(rights(socket, channel).await, expected, "{} on {channel}", socket.user);
    }
}

async fn users_have_the_rights_of_the_table(b: Backend) {
    let t = TestApp::with(b, &[("WS_MESSAGE_RATE", "10000")]).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let channel = |project: &serde_json::Value| format!("project:{}", project["id"].as_str().unwrap());
    let (own, foreign, deleted) = (amy.project("own").await, bob.project("foreign").await, amy.project("deleted").await);
    amy.delete(&format!("/app/projects/{}", deleted["id"].as_str().unwrap())).await.expect(204);
    let (own, foreign, deleted) = (channel(&own), channel(&foreign), channel(&deleted));
    let unknown = format!("project:{}", uuid::Uuid::now_v7());
    let mut amy = connect(&t, &amy).await;
    have_rights(&mut amy, LISTEN, &["user:amy", "presence", "notifications", "system", "system:x", "system:", "broadcast"]).await;
    have_rights(&mut amy, NONE, &["user:bob", "user:", "user:AMY", "user:amy:x", "admin", "admin:x", "admin:", "admin:user:amy"]).await;
    have_rights(&mut amy, OPEN, &[&own, "room:lobby", "general", "user", "project", "projects:x", "presence:x", "adminx", ":", "Admin"]).await;
    have_rights(&mut amy, NONE, &[&foreign, &deleted, &unknown, "project:x", "project:", &format!("{own}:x")]).await;
}

async fn admins_have_the_rights_of_the_table(b: Backend) {
    let t = TestApp::with(b, &[("WS_MESSAGE_RATE", "10000")]).await;
    let (admin, amy) = (t.admin().await, t.user("amy").await);
    let project = format!("project:{}", amy.project("hers").await["id"].as_str().unwrap());
    let mut admin = connect(&t, &admin).await;
    have_rights(&mut admin, LISTEN, &["admin", "admin:x", "admin:", "user:the-admin", "presence", "system", "broadcast"]).await;
    have_rights(&mut admin, NONE, &["user:amy", &project]).await;
    have_rights(&mut admin, OPEN, &["room:lobby"]).await;
}

async fn demoted_admin_loses_the_admin_channel(b: Backend) {
    let t = TestApp::with(b, &[("WS_PRESENCE", "admins")]).await;
    let (admin, bea) = (t.admin().await, t.user_with_role("bea", "admin").await);
    let mut socket = connect(&t, &bea).await;
    for channel in ["admin", "admin:x", "room:a"] {
        socket.subscribe(channel).await;
    }
    admin.patch("/admin/users/bea", json!({"role": "user"})).await.expect(200);
    minute_passes(&t, "bea");
    let mut lost = Vec::new();
    for _ in 0..2 {
        lost.push(socket.expect("unsubscribed").await["channel"].as_str().unwrap().to_owned());
    }
    lost.sort_unstable();
    assert_eq!(lost, ["admin", "admin:x"]);
    socket.is_quiet().await;
    have_rights(&mut socket, NONE, &["admin", "admin:x", "presence"]).await;
    socket.publish("room:a", json!("still there")).await;
}

async fn owner_of_deleted_project_loses_its_channel(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let project = amy.project("x").await["id"].as_str().unwrap().to_owned();
    let channel = format!("project:{project}");
    let mut socket = connect(&t, &amy).await;
    socket.subscribe(&channel).await;
    minute_passes(&t, "amy");
    socket.is_quiet().await;
    amy.delete(&format!("/app/projects/{project}")).await.expect(204);
    assert_eq!(socket.expect("update").await["data"]["action"], "deleted");
    minute_passes(&t, "amy");
    assert_eq!(socket.expect("unsubscribed").await["channel"], json!(channel));
    have_rights(&mut socket, NONE, &[&channel]).await;
}

async fn presence_is_for_those_whom_the_setting_names(b: Backend) {
    for (setting, of_user, of_admin) in [("all", LISTEN, LISTEN), ("admins", NONE, LISTEN), ("off", NONE, NONE)] {
        let t = TestApp::with(b, &[("WS_PRESENCE", setting)]).await;
        let (admin, amy) = (t.admin().await, t.user("amy").await);
        have_rights(&mut connect(&t, &amy).await, of_user, &["presence"]).await;
        have_rights(&mut connect(&t, &admin).await, of_admin, &["presence"]).await;
    }
}

async fn rooms_may_be_switched_off(b: Backend) {
    let t = TestApp::with(b, &[("WS_OPEN_ROOMS", "false")]).await;
    let (admin, amy) = (t.admin().await, t.user("amy").await);
    let project = format!("project:{}", amy.project("own").await["id"].as_str().unwrap());
    let mut socket = connect(&t, &amy).await;
    have_rights(&mut socket, NONE, &["room:lobby", "general", "x"]).await;
    have_rights(&mut socket, LISTEN, &["user:amy", "system", "notifications"]).await;
    have_rights(&mut socket, OPEN, &[&project]).await;
    have_rights(&mut connect(&t, &admin).await, NONE, &["room:lobby"]).await;
}
