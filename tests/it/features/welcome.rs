//! Welcome e-mail: enqueued once with the new user's row; a broken queue does not fail the request.

use futures_util::future::join_all;
use http::Method;
use omnistack::app::jobs::model::JobRow;
use omnistack::features::users;
use omnistack::platform::auth::Role;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, SECRET, TestApp, tokens};

crate::on_both_backends![
    welcome_email_new_user_is_enqueued_once,
    welcome_email_without_name_uses_email_local_part,
    welcome_email_concurrent_first_requests_enqueue_one,
    welcome_email_placeholder_address_is_not_enqueued,
    welcome_email_user_created_by_command_is_enqueued,
    welcome_email_rejected_first_request_is_not_enqueued,
    first_request_with_broken_queue_still_succeeds,
    welcome_email_job_delivers_message,
    welcome_email_job_cancelled_sends_nothing,
];

/// Client of a new user. Its token has exactly these claims and the standard times.
#[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
fn newcomer(t: &TestApp, subject: &str, claims: Value) -> Client {
    let mut all = tokens::claims(subject, &t.clock).without("email");
    all.body.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    t.with_token(&all.sign(SECRET))
}

async fn come(client: &Client) {
    client.get("/app/users/me").await.expect(200);
}

/// Returns all jobs, newest first.
async fn jobs(t: &TestApp) -> Vec<JobRow> {
    t.app.jobs.page(&t.app.db, None, 100, 0).await.unwrap().0
}

/// Returns the owner and the arguments of each welcome e-mail job.
async fn greetings(t: &TestApp) -> Vec<(Option<String>, Value)> {
    let jobs = jobs(t).await;
    assert!(jobs.iter().all(|job| job.function == "send_welcome_email"), "{jobs:?}");
    jobs.into_iter().map(|job| (job.owner_id.map(|id| id.to_string()), serde_json::from_str(&job.kwargs).unwrap())).collect()
}

fn greeting(owner: &str, email: &str, name: &str) -> (Option<String>, Value) {
    (Some(owner.to_owned()), json!({"email": email, "name": name}))
}

async fn mailbox(t: &TestApp) -> Value {
    t.anonymous().get("//dev/mailbox.json").await.expect(200)
}

async fn welcome_email_new_user_is_enqueued_once(b: Backend) {
    let t = TestApp::start(b).await;
    let ada = newcomer(&t, "ada", json!({"email": " Ada@Example.test ", "name": "Ada Lovelace"}));
    for _ in 0..3 {
        come(&ada).await;
        t.forget_identity("ada");
    }
    let expected = greeting("ada", "ada@example.test", "Ada Lovelace");
    assert_eq!(greetings(&t).await, std::slice::from_ref(&expected));
    t.clock.advance(chrono::TimeDelta::minutes(30));
    come(&newcomer(&t, "ada", json!({"email": "other@example.test"}))).await;
    assert_eq!(greetings(&t).await, [expected], "a later login with another address enqueues nothing");
}

async fn welcome_email_without_name_uses_email_local_part(b: Backend) {
    let t = TestApp::start(b).await;
    for (subject, claims, name) in [
        ("a", json!({"email": "Ada.L@example.test"}), "ada.l"),
        ("b", json!({"email": "bea@example.test", "name": "  "}), "bea"),
        ("c", json!({"email": "cleo@example.test", "user_metadata": {"full_name": "Cleo"}}), "Cleo"),
        ("d", json!({"app_metadata": {"email": "dora@example.test"}}), "dora"),
    ] {
        come(&newcomer(&t, subject, claims)).await;
        let newest = greetings(&t).await.remove(0);
        assert_eq!((newest.0.as_deref(), newest.1["name"].as_str()), (Some(subject), Some(name)));
    }
}

async fn welcome_email_concurrent_first_requests_enqueue_one(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let here = newcomer(&t, "ada", json!({"email": "ada@example.test"}));
    let there = other.with_token(here.token.as_ref().unwrap());
    join_all((0..20).map(|n| come(if n % 2 == 0 { &here } else { &there }))).await;
    assert_eq!(greetings(&t).await, [greeting("ada", "ada@example.test", "ada")]);
}

async fn welcome_email_placeholder_address_is_not_enqueued(b: Backend) {
    let t = TestApp::start(b).await;
    for (subject, claims) in [("a", json!({})), ("b", json!({"email": " ", "name": "Bea"})), ("c", json!({"email": 5}))] {
        let me = newcomer(&t, subject, claims).get("/app/users/me").await.expect(200);
        assert_eq!(me["email"], format!("{subject}@placeholder.local"));
    }
    assert_eq!(greetings(&t).await, []);
}

async fn welcome_email_rejected_first_request_is_not_enqueued(b: Backend) {
    let t = TestApp::start(b).await;
    come(&newcomer(&t, "ada", json!({"email": "ada@example.test"}))).await;
    let twin = newcomer(&t, "twin", json!({"email": "ADA@example.test"}));
    for _ in 0..2 {
        twin.get("/app/users/me").await.expect_error(409, "CONFLICT");
    }
    newcomer(&t, "late", json!({"email": "late@example.test", "exp": 1})).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(greetings(&t).await, [greeting("ada", "ada@example.test", "ada")]);
}

async fn first_request_with_broken_queue_still_succeeds(b: Backend) {
    let t = TestApp::start(b).await;
    t.sql("ALTER TABLE jobs RENAME TO jobs_away").await;
    let ada = newcomer(&t, "ada", json!({"email": "ada@example.test", "name": "Ada"}));
    join_all((0..10).map(|_| come(&ada))).await;
    let bea = newcomer(&t, "bea", json!({"email": "bea@example.test"}));
    assert_eq!(bea.project("x").await["owner_id"], "bea", "any route creates the user");
    newcomer(&t, "twin", json!({"email": "ada@example.test"})).get("/app/users/me").await.expect_error(409, "CONFLICT");
    let me = ada.get("/app/users/me").await.expect(200);
    assert_eq!((&me["email"], &me["full_name"]), (&json!("ada@example.test"), &json!("Ada")));
    t.sql("ALTER TABLE jobs_away RENAME TO jobs").await;
    t.forget_identity("ada");
    come(&ada).await;
    assert_eq!(greetings(&t).await, [], "the e-mail is lost because only the first request enqueues it");
    come(&newcomer(&t, "cleo", json!({"email": "cleo@example.test"}))).await;
    assert_eq!(greetings(&t).await, [greeting("cleo", "cleo@example.test", "cleo")]);
}

async fn welcome_email_job_delivers_message(b: Backend) {
    let t = TestApp::with(b, &[("PROJECT_NAME", "Acme")]).await;
    come(&newcomer(&t, "ada", json!({"email": "ada@example.test", "name": "Ada <b>"}))).await;
    assert_eq!(mailbox(&t).await["total"], 0, "the request itself sends nothing");
    t.run_jobs().await;
    let page = mailbox(&t).await;
    assert_eq!(page["total"], 1);
    let mail = &page["items"][0];
    assert_eq!(
        (&mail["to"], &mail["subject"], &mail["template"]),
        (&json!("ada@example.test"), &json!("Welcome to Acme!"), &json!("welcome"))
    );
    assert!(mail["text"].as_str().unwrap().contains("Ada <b>") && mail["html"].as_str().unwrap().contains("Ada &lt;b&gt;"), "{mail}");
    let job = jobs(&t).await.remove(0);
    assert!(job.outcome()["message_id"].is_string(), "{job:?}");
    t.run_jobs().await;
    assert_eq!(mailbox(&t).await["total"], 1);
}

async fn welcome_email_job_cancelled_sends_nothing(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    for job in jobs(&t).await {
        admin.call(Method::DELETE, &format!("/admin/jobs/{}", job.id)).await.expect(200);
    }
    t.run_jobs().await;
    assert_eq!(mailbox(&t).await["total"], 0);
}

async fn welcome_email_user_created_by_command_is_enqueued(b: Backend) {
    let t = TestApp::start(b).await;
    let make = async |email: &str, role| users::service::operator::find_or_create(&t.app, email, role).await.unwrap();
    for _ in 0..2 {
        make("amy@example.test", Role::User).await;
    }
    let amy = make("amy@example.test", Role::User).await;
    assert_eq!(greetings(&t).await, [greeting(amy.id.as_str(), "amy@example.test", "amy")]);
}
