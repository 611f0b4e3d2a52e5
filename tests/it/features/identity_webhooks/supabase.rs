//! Effects of Supabase's database webhooks.

use http::Method;
use serde_json::{Value, json};

use super::{SUPABASE, hook, processed, stored, welcomed};
use crate::harness::webhooks::SUPABASE_SECRET;
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    supabase_insert_update_and_delete_are_applied,
    supabase_repeated_body_is_already_processed,
    supabase_other_tables_are_left_alone,
    supabase_unconfirmed_address_gets_mail_when_confirmed,
    supabase_row_is_kept_without_secrets,
    supabase_wrong_secret_is_401_and_leaves_no_trace,
    webhooks_without_secrets_answer_503,
];

fn row(id: &str, name: &str, updated_at: &str) -> Value {
    json!({
        "id": id, "email": format!("{id}@example.com"), "updated_at": updated_at, "encrypted_password": "$2a$10$hunter2",
        "raw_user_meta_data": {"full_name": name, "avatar_url": "https://img.example.com/s.png"}
    })
}

async fn supabase_insert_update_and_delete_are_applied(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    processed(hook(&t, "INSERT", row("s1", "Sue", "2026-01-10T12:00:00+00:00"), Value::Null).await);
    assert_eq!(stored(&t, "s1").await.as_deref(), Some("s1@example.com Sue https://img.example.com/s.png"));
    assert_eq!(welcomed(&t).await, ["s1@example.com"]);
    processed(hook(&t, "UPDATE", row("s1", "Susan", "2026-01-10T12:00:02.5+00:00"), row("s1", "Sue", "x")).await);
    processed(hook(&t, "UPDATE", row("s1", "Late", "2026-01-10T13:00:02.4+01:00"), row("s1", "Sue", "x")).await);
    assert_eq!(stored(&t, "s1").await.as_deref(), Some("s1@example.com Susan https://img.example.com/s.png"));
    // No time: applied as it comes.
    processed(hook(&t, "UPDATE", row("s1", "Undated", "garbage"), Value::Null).await);
    assert_eq!(stored(&t, "s1").await.as_deref(), Some("s1@example.com Undated https://img.example.com/s.png"));
    processed(hook(&t, "UPDATE", row("s2", "Unknown", "x"), Value::Null).await);
    assert_eq!(stored(&t, "s2").await, None);
    processed(hook(&t, "DELETE", Value::Null, row("s1", "Sue", "x")).await);
    assert_eq!(stored(&t, "s1").await.as_deref(), Some("s1@example.com Undated https://img.example.com/s.png inactive"));
}

async fn supabase_repeated_body_is_already_processed(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    processed(hook(&t, "INSERT", row("s1", "Sue", "x"), Value::Null).await);
    assert_eq!(hook(&t, "INSERT", row("s1", "Sue", "x"), Value::Null).await.expect(200)["status"], "already_processed");
    processed(hook(&t, "INSERT", row("s1", "Sue", "y"), Value::Null).await);
}

async fn supabase_other_tables_are_left_alone(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for (schema, table) in [(json!("public"), "users"), (json!("auth"), "identities"), (Value::Null, "users")] {
        let body = json!({"type": "INSERT", "schema": schema, "table": table, "record": row("s1", "Sue", "x")});
        processed(post(&t, &body.to_string(), &format!("Bearer {SUPABASE_SECRET}")).await);
    }
    assert_eq!(stored(&t, "s1").await, None);
    let body = json!({"type": "INSERT", "table": "auth.users", "record": row("s1", "Sue", "x")});
    processed(post(&t, &body.to_string(), &format!("bearer {SUPABASE_SECRET}")).await);
    assert!(stored(&t, "s1").await.is_some());
}

async fn supabase_unconfirmed_address_gets_mail_when_confirmed(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    let with = |confirmed: Value, name: &str| {
        let mut row = row("s1", name, "x");
        row["email_confirmed_at"] = confirmed;
        row
    };
    processed(hook(&t, "INSERT", with(Value::Null, "Buy at evil.example"), Value::Null).await);
    processed(hook(&t, "UPDATE", with(Value::Null, "Again"), Value::Null).await);
    assert!(stored(&t, "s1").await.is_some());
    assert_eq!(welcomed(&t).await.len(), 0, "the address may be a stranger's");
    for name in ["Sue", "Susan"] {
        processed(hook(&t, "UPDATE", with(json!("2026-01-10T12:00:00Z"), name), Value::Null).await);
    }
    assert_eq!(welcomed(&t).await, ["s1@example.com"]);
}

async fn supabase_row_is_kept_without_secrets(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    processed(hook(&t, "INSERT", row("s1", "Sue", "x"), Value::Null).await);
    let payload = t.texts("SELECT CAST(payload AS text) FROM webhook_events").await.remove(0);
    assert!(payload.contains("s1@example.com") && !payload.contains("hunter2"), "{payload}");
}

async fn post(t: &TestApp, body: &str, authorization: &str) -> crate::harness::Reply {
    let call = t.anonymous().call(Method::POST, SUPABASE).body("application/json", body.to_owned());
    if authorization.is_empty() { call.await } else { call.header("authorization", authorization).await }
}

async fn supabase_wrong_secret_is_401_and_leaves_no_trace(b: Backend) {
    let t = TestApp::with(b, &[("SUPABASE_WEBHOOK_SECRET", "the-first-secret-of-two, the-other-secret-of-two")]).await;
    let body = json!({"type": "INSERT", "table": "auth.users", "record": row("s1", "Sue", "x")}).to_string();
    let both = "Bearer the-first-secret-of-two,the-other-secret-of-two";
    for wrong in ["", "Bearer", "Bearer ", "Bearer the-first-secret-of-tw", "Basic the-first-secret-of-two", "the-first-secret-of-two", both, "Bearer ,"] {
        post(&t, &body, wrong).await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events").await, 0);
    assert_eq!(post(&t, &body, "Bearer the-other-secret-of-two").await.expect(200)["status"], "processed");
    assert_eq!(post(&t, &body, "Bearer the-first-secret-of-two").await.expect(200)["status"], "already_processed");
}

async fn webhooks_without_secrets_answer_503(b: Backend) {
    let t = TestApp::start(b).await;
    for path in [SUPABASE, super::CLERK] {
        for body in ["{}", "not json", ""] {
            let call = t.anonymous().call(Method::POST, path).body("application/json", body);
            call.header("authorization", "Bearer x").await.expect_error(503, "SERVICE_UNAVAILABLE");
        }
    }
}
