//! Privacy: export and erasure of a user's data.

use chrono::TimeDelta;
use omnistack::app::jobs::{JobId, New};
use omnistack::platform::id::UserId;
use serde_json::{Value, json};

use crate::harness::database::Database;
use crate::harness::functions::{Act, Way};
use crate::harness::process::Place;
use crate::harness::{Backend, Client, TestApp, ids};

crate::on_both_backends![
    export_pending_returns_409_until_ready,
    export_document_contains_only_own_data,
    export_requested_again_while_pending_returns_same_job,
    export_of_another_user_returns_404,
    export_failed_returns_409_and_can_be_requested_again,
    export_older_than_one_day_returns_404,
    export_without_active_user_returns_401_or_403,
    export_job_unknown_user_returns_error,
    erase_user_deletes_only_their_rows,
    erase_repeated_or_unknown_user_deletes_nothing,
    erased_user_with_valid_token_gets_new_account,
    erase_command_accepts_email_or_id,
];

async fn ask(client: &Client) -> String {
    let answer = client.call(http::Method::POST, "/app/users/me/export").await.expect(202);
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    answer["job_id"].as_str().unwrap().to_owned()
}

async fn fetch(client: &Client, id: &str) -> crate::harness::Reply {
    client.get(&format!("/app/users/me/export/{id}")).await
}

/// Requests an export, runs its job and returns the document.
async fn export(t: &TestApp, client: &Client) -> Value {
    let id = ask(client).await;
    t.run_jobs().await;
    fetch(client, &id).await.expect(200)
}

/// Creates three projects and deletes one; returns the other two, newest first.
async fn projects(t: &TestApp, client: &Client) -> Vec<Value> {
    let mut made = Vec::new();
    for name in ["old", "gone", "new"] {
        t.clock.advance(TimeDelta::seconds(1));
        made.insert(0, client.project(name).await);
    }
    let gone = made.remove(1);
    client.delete(&format!("/app/projects/{}", gone["id"].as_str().unwrap())).await.expect(204);
    made
}

/// Number of the user's rows in `users`, `projects`, `jobs` and `idempotency_keys`.
async fn kept(t: &TestApp, user: &str) -> [i64; 4] {
    let mut counts = [0; 4];
    for (count, (table, column)) in
        counts.iter_mut().zip([("users", "id"), ("projects", "owner_id"), ("jobs", "owner_id"), ("idempotency_keys", "user_id")])
    {
        *count = t.number(&format!("SELECT COUNT(*) FROM {table} WHERE {column} = '{user}'")).await;
    }
    counts
}

/// Creates a user with three projects (one deleted), the four events of their changes, two jobs and an idempotency key.
async fn settled(t: &TestApp, name: &str) -> Client {
    let client = t.user(name).await;
    client.post("/app/projects", json!({"name": "keyed"})).key("k").await.expect(201);
    client.project("kept").await;
    let id = client.project("gone").await["id"].as_str().unwrap().to_owned();
    client.delete(&format!("/app/projects/{id}")).await.expect(204);
    ask(&client).await;
    assert_eq!(kept(t, name).await, [1, 3, 2, 1], "the two jobs are the export and the welcome e-mail");
    client
}

async fn export_pending_returns_409_until_ready(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let id = ask(&amy).await;
    assert_eq!(fetch(&amy, &id).await.expect_error(409, "CONFLICT")["resource"], "Export");
    t.sql(&format!("UPDATE jobs SET status = 'running', locked_by = 'x/1' WHERE id = '{id}'")).await;
    fetch(&amy, &id).await.expect_error(409, "CONFLICT");
    t.sql(&format!("UPDATE jobs SET status = 'queued', locked_by = NULL WHERE id = '{id}'")).await;
    t.run_jobs().await;
    let reply = fetch(&amy, &id).await;
    assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"export.json\""));
    let document = reply.expect(200);
    assert_eq!(document["user"]["id"], "amy");
    assert_eq!(fetch(&amy, &id).await.expect(200), document, "the export can be fetched again");
}

async fn export_document_contains_only_own_data(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob, admin) = (t.user("amy").await, t.user("bob").await, t.admin().await);
    t.sql("UPDATE users SET subscription_plan = 'pro', subscription_status = 'active' WHERE id = 'amy'").await;
    let (hers, his) = (projects(&t, &amy).await, projects(&t, &bob).await);
    let document = export(&t, &amy).await;
    let mut members: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["exported_at", "files", "projects", "subscription", "user"]);
    assert_eq!(document["user"], admin.get("/admin/users/amy").await.expect(200));
    assert_eq!(document["subscription"], json!({"plan": "pro", "status": "active"}));
    assert_eq!((&document["projects"], &document["files"]), (&json!(hers), &json!([])));
    assert_eq!(document["exported_at"], json!(t.clock.now()));
    let document = export(&t, &bob).await;
    assert_eq!(ids(document["projects"].as_array().unwrap()), ids(&his));
    assert_eq!(document["subscription"], json!({"plan": null, "status": null}));
    assert!(!document.to_string().contains("amy"), "{document}");
}

async fn export_requested_again_while_pending_returns_same_job(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let asked = futures_util::future::join_all((0..10).map(|_| ask(&amy))).await;
    let id = &asked[0];
    assert!(asked.iter().all(|other| other == id), "{asked:?}");
    assert_ne!(ask(&bob).await, *id);
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE function = 'export_user_data'").await, 2);
    t.sql(&format!("UPDATE jobs SET status = 'running', locked_by = 'x/1' WHERE id = '{id}'")).await;
    assert_eq!(ask(&amy).await, *id, "a running export is also reused");
    t.sql(&format!("UPDATE jobs SET status = 'queued', locked_by = NULL WHERE id = '{id}'")).await;
    t.run_jobs().await;
    assert_ne!(ask(&amy).await, *id, "a finished export is not reused");
    fetch(&amy, id).await.expect(200);
}

async fn export_of_another_user_returns_404(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob, admin) = (t.user("amy").await, t.user("bob").await, t.admin().await);
    let id = ask(&amy).await;
    let other = New { owner_id: UserId::parse("amy"), ..New::default() };
    let other = t.app.jobs.enqueue(&t.app.db, &Act::new(Way::Succeed), other).await.unwrap().unwrap().to_string();
    let (by_hand, _) = t.run_function("export_user_data", json!({"user_id": "bob"})).await.unwrap();
    for ready in [false, true] {
        let nobodys = [JobId::new().to_string(), "x".to_owned(), by_hand.to_string(), other.clone()];
        let not_hers = nobodys.iter().map(|id| (&amy, id)).chain([(&bob, &id), (&admin, &id)]);
        for (client, id) in not_hers {
            assert_eq!(fetch(client, id).await.expect_error(404, "NOT_FOUND"), json!({"resource": "Export", "id": id}), "{ready}");
        }
        t.run_jobs().await;
    }
    fetch(&amy, &id).await.expect(200);
}

async fn export_failed_returns_409_and_can_be_requested_again(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let id = ask(&amy).await;
    t.sql(&format!("UPDATE jobs SET kwargs = '{{}}' WHERE id = '{id}'")).await;
    t.run_jobs().await;
    assert_eq!(t.texts(&format!("SELECT status FROM jobs WHERE id = '{id}'")).await, ["dead"]);
    fetch(&amy, &id).await.expect_error(409, "CONFLICT");
    let cancelled = ask(&amy).await;
    assert_ne!(cancelled, id);
    t.admin().await.delete(&format!("/admin/jobs/{cancelled}")).await.expect(200);
    fetch(&amy, &cancelled).await.expect_error(409, "CONFLICT");
    assert_eq!(export(&t, &amy).await["user"]["id"], "amy");
}

async fn export_older_than_one_day_returns_404(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let id = ask(&amy).await;
    t.run_jobs().await;
    for (minutes, status) in [(24 * 60 - 1, 200), (2, 404)] {
        t.clock.advance(TimeDelta::minutes(minutes));
        t.run_function("sweep_expired", json!({})).await.unwrap().1.unwrap();
        // The first token has expired, so the user signs in again.
        fetch(&t.user("amy").await, &id).await.expect(status);
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM data_exports").await, 0);
}

async fn export_without_active_user_returns_401_or_403(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, nobody) = (t.user("amy").await, t.anonymous());
    let id = ask(&amy).await;
    nobody.call(http::Method::POST, "/app/users/me/export").await.expect_error(401, "AUTHENTICATION_ERROR");
    fetch(&nobody, &id).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.sql("UPDATE users SET is_active = FALSE WHERE id = 'amy'").await;
    t.forget_identity("amy");
    fetch(&amy, &id).await.expect_error(403, "AUTHORIZATION_ERROR");
}

async fn export_job_unknown_user_returns_error(b: Backend) {
    let t = TestApp::start(b).await;
    t.user("amy").await;
    for id in ["nobody", "AMY"] {
        let (_, result) = t.run_function("export_user_data", json!({"user_id": id})).await.unwrap();
        assert_eq!(result.unwrap(), json!({"error": "User not found"}), "{id}");
    }
    let too_long = "x".repeat(256);
    for id in ["", "a\nb", &too_long] {
        let refused = t.run_function("export_user_data", json!({"user_id": id})).await.unwrap_err();
        assert_eq!(refused.status(), 400, "{id:?}");
    }
}

async fn erase_user_deletes_only_their_rows(b: Backend) {
    let t = TestApp::start(b).await;
    settled(&t, "amy").await;
    let bob = settled(&t, "bob").await;
    let his = bob.get("/app/projects").await.expect(200);
    assert_eq!(t.erase("amy").await.unwrap(), 1 + 3 + 2 + 1 + 4);
    assert_eq!(kept(&t, "amy").await, [0; 4]);
    assert_eq!(kept(&t, "bob").await, [1, 3, 2, 1]);
    assert_eq!(bob.get("/app/projects").await.expect(200), his);
    t.run_jobs().await;
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE status = 'done'").await, 2, "bob's jobs run, amy's jobs are deleted");
    t.admin().await.get("/admin/users/amy").await.expect_error(404, "NOT_FOUND");
}

async fn erase_repeated_or_unknown_user_deletes_nothing(b: Backend) {
    let t = TestApp::start(b).await;
    settled(&t, "amy").await;
    assert_eq!(t.erase("amy").await.unwrap(), 11);
    for id in ["amy", "nobody"] {
        assert_eq!(t.erase(id).await.unwrap(), 0, "{id:?}");
    }
}

async fn erased_user_with_valid_token_gets_new_account(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = settled(&t, "amy").await;
    t.sql("UPDATE users SET role = 'admin', full_name = 'Amy' WHERE id = 'amy'").await;
    t.forget_identity("amy");
    amy.get("/admin/users").await.expect(200);
    t.erase("amy").await.unwrap();
    // The token is still valid, but the stored role and profile are gone, also from the caches.
    amy.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
    let me = amy.get("/app/users/me").await.expect(200);
    assert_eq!((&me["full_name"], &me["role"]), (&Value::Null, &json!("user")));
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 0);
    let again = amy.post("/app/projects", json!({"name": "keyed"})).key("k").await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, None));
}

async fn erase_command_accepts_email_or_id(b: Backend) {
    let database = Database::create(b).await;
    let place = Place::new().with("DATABASE_URL", &database.url).with("RATE_LIMIT_DEFAULT", "1000000/minute");
    let server = place.serve().await;
    let mut people = Vec::new();
    for name in ["ada", "bea", "cleo"] {
        let token = place.run(&["token", "--email", &format!("{name}@example.com")]).await.expect_ok();
        let client = server.client(Some(token.trim().to_owned()));
        client.project("x").await;
        let id = client.get("/app/users/me").await.expect(200)["id"].as_str().unwrap().to_owned();
        people.push((client, id));
    }
    let unsure = place.run(&["users", "erase", "ada@example.com"]).await;
    assert!(unsure.code != 0 && unsure.err.contains("--yes"), "{unsure:?}");
    people[0].0.get("/app/users/me").await.expect(200);
    for nobody in ["nobody@example.com", "nobody", ""] {
        let said = place.run(&["users", "erase", nobody, "--yes"]).await.expect_refusal();
        assert!(said.contains("no user"), "{said}");
    }
    // Four rows: the user, the project, its event and the welcome e-mail job.
    let said = place.run(&["users", "erase", " ADA@example.com", "--yes"]).await.expect_ok();
    assert_eq!(said, format!("{} is erased: 4 rows\n", people[0].1));
    let said = place.run(&["users", "erase", &people[1].1, "--yes"]).await.expect_ok();
    assert_eq!(said, format!("{} is erased: 4 rows\n", people[1].1));
    place.run(&["users", "erase", &people[1].1, "--yes"]).await.expect_refusal();
    for (client, _) in &people[..2] {
        crate::harness::eventually("the erased user's token is rejected", async || client.get("/app/users/me").await.status == 401).await;
    }
    assert_eq!(people[2].0.get("/app/projects").await.expect(200)["total"], 1);
}
