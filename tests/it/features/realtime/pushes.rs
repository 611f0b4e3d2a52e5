//! What the server sends without being asked: by other features, and through hooks.

use http::Method;
use omnistack::app::news::{Action, Change, Notice};
use omnistack::features::realtime::service::{self, Push};
use omnistack::platform::error::{Error, Result};
use omnistack::transaction;
use serde_json::{Value, json};

use super::{connect, id};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    change_of_project_reaches_its_owner_once,
    finished_export_notifies_its_user,
    rolled_back_transaction_sends_nothing,
];

crate::on_sqlite![
    push_to_user_needs_no_subscription,
    push_to_channel_spares_the_excluded_user,
    push_to_all_reaches_everybody,
];

fn notification(data: Option<Value>) -> Push {
    Push::Notification { title: "t".to_owned(), body: "b".to_owned(), data }
}

async fn push_to_user_needs_no_subscription(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (mut one, mut two, mut other) = (connect(&t, &amy).await, connect(&t, &amy).await, connect(&t, &bob).await);
    one.subscribe("user:amy").await;
    service::send_to_user(&t.app, &id("amy"), &notification(None));
    service::send_to_user(&t.app, &id("amy"), &notification(Some(json!({"n": 1}))));
    service::send_to_user(&t.app, &id("nobody"), &notification(None));
    for socket in [&mut one, &mut two] {
        let frame = socket.expect("notification").await;
        assert_eq!((&frame["data"], &frame["channel"]), (&json!({"title": "t", "body": "b"}), &Value::Null));
        assert_eq!(socket.expect("notification").await["data"], json!({"title": "t", "body": "b", "data": {"n": 1}}));
        socket.is_quiet().await;
    }
    other.is_quiet().await;
}

async fn push_to_channel_spares_the_excluded_user(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (mut amy_1, mut without, mut bob) = (connect(&t, &amy).await, connect(&t, &amy).await, connect(&t, &bob).await);
    amy_1.subscribe("system:news").await;
    bob.subscribe("system:news").await;
    let update = Push::Update { resource: "thing".to_owned(), action: Action::Updated, resource_id: "7".to_owned(), data: None };
    service::send_to_channel(&t.app, "system:news", &update, None);
    service::send_to_channel(&t.app, "system:news", &notification(None), Some(&id("amy")));
    service::send_to_channel(&t.app, "system:empty", &update, None);
    let expected = json!({"resource": "thing", "action": "updated", "resource_id": "7"});
    for socket in [&mut amy_1, &mut bob] {
        let frame = socket.expect("update").await;
        assert_eq!((&frame["data"], &frame["channel"]), (&expected, &json!("system:news")));
    }
    assert_eq!(bob.expect("notification").await["channel"], "system:news");
    for socket in [&mut amy_1, &mut without, &mut bob] {
        socket.is_quiet().await;
    }
}

async fn push_to_all_reaches_everybody(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let mut sockets = [connect(&t, &amy).await, connect(&t, &amy).await, connect(&t, &bob).await];
    sockets[0].subscribe("broadcast").await;
    service::broadcast(&t.app, &notification(None));
    for socket in &mut sockets {
        assert_eq!(socket.expect("notification").await["channel"], Value::Null);
        socket.is_quiet().await;
    }
}

async fn change_of_project_reaches_its_owner_once(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (mut listening, mut silent, mut foreign) = (connect(&t, &amy).await, connect(&t, &amy).await, connect(&t, &bob).await);
    foreign.subscribe("room:a").await;
    let made = amy.project("first").await;
    let project = made["id"].as_str().unwrap();
    let path = format!("/app/projects/{project}");
    for socket in [&mut listening, &mut silent] {
        let frame = socket.expect("update").await;
        let expected = json!({"resource": "project", "action": "created", "resource_id": project, "data": made});
        assert_eq!((&frame["data"], &frame["channel"]), (&expected, &Value::Null));
        socket.is_quiet().await;
    }
    let channel = format!("project:{project}");
    listening.subscribe(&channel).await;
    let changed = amy.patch(&path, json!({"name": "second"})).await.expect(200);
    amy.delete(&path).await.expect(204);
    for (socket, on) in [(&mut listening, json!(channel)), (&mut silent, Value::Null)] {
        let frame = socket.expect("update").await;
        let expected = json!({"resource": "project", "action": "updated", "resource_id": project, "data": changed});
        assert_eq!((&frame["data"], &frame["channel"]), (&expected, &on));
        let frame = socket.expect("update").await;
        let expected = json!({"resource": "project", "action": "deleted", "resource_id": project});
        assert_eq!((&frame["data"], &frame["channel"]), (&expected, &on));
        socket.is_quiet().await;
    }
    // What fails or changes nothing is no news.
    amy.delete(&path).await.expect_error(404, "NOT_FOUND");
    amy.post("/app/projects", json!({"name": ""})).await.expect_error(422, "VALIDATION_ERROR");
    bob.patch(&path, json!({"name": "third"})).await.expect_error(404, "NOT_FOUND");
    for socket in [&mut listening, &mut silent, &mut foreign] {
        socket.is_quiet().await;
    }
}

async fn finished_export_notifies_its_user(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (mut socket, mut other) = (connect(&t, &amy).await, connect(&t, &bob).await);
    let job = amy.call(Method::POST, "/app/users/me/export").await.expect(202)["job_id"].clone();
    t.run_jobs().await;
    let frame = socket.expect("notification").await;
    let data = &frame["data"];
    assert_eq!((&frame["channel"], &data["data"]["kind"]), (&Value::Null, &json!("export_ready")), "{frame}");
    assert_eq!(data["data"]["details"]["job_id"], job, "{frame}");
    assert!(data["title"].is_string() && data["body"].is_string(), "{frame}");
    socket.is_quiet().await;
    other.is_quiet().await;
}

async fn rolled_back_transaction_sends_nothing(b: Backend) {
    let t = TestApp::start(b).await;
    let mut socket = connect(&t, &t.user("amy").await).await;
    let change = Change { owner: id("amy"), resource: "project", action: Action::Created, id: "1".to_owned(), data: None };
    let notice = Notice { user: id("amy"), kind: "news", title: "t".to_owned(), text: "x".to_owned(), data: json!({}) };
    let report = async |fails: bool| -> Result<()> {
        transaction!(t.app.db, |tx| {
            t.app.changed(tx, &change).await?;
            t.app.notify(tx, &notice).await?;
            if fails { Err(Error::Forbidden("no")) } else { Ok(()) }
        })
    };
    report(true).await.unwrap_err();
    socket.is_quiet().await;
    report(false).await.unwrap();
    assert_eq!(socket.expect("update").await["data"]["resource_id"], "1");
    assert_eq!(socket.expect("notification").await["data"]["data"], json!({"kind": "news", "details": {}}));
    socket.is_quiet().await;
}
