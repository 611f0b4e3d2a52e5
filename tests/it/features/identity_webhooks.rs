//! Webhooks of Clerk and Supabase, through HTTP. Every file in this folder becomes a module automatically.

automod::dir!("tests/it/features/identity_webhooks");

use serde_json::{Value, json};

use crate::harness::webhooks::{SUPABASE_SECRET, clerk};
use crate::harness::{Reply, TestApp};

const CLERK: &str = "/public/webhooks/clerk";
const SUPABASE: &str = "/public/webhooks/supabase";

/// Delivers Clerk's event of this type about a user, under a new id.
async fn tell(t: &TestApp, kind: &str, user: &Value) -> Reply {
    let body = json!({"type": kind, "object": "event", "data": user}).to_string();
    let id = format!("msg_{}", uuid::Uuid::now_v7());
    deliver(t, &body, &clerk(&id, t.clock.now().timestamp(), body.as_bytes())).await
}

async fn deliver(t: &TestApp, body: &str, headers: &[(&str, String)]) -> Reply {
    let call = t.anonymous().call(http::Method::POST, CLERK).body("application/json", body.to_owned());
    headers.iter().fold(call, |call, (name, value)| call.header(name, value)).await
}

/// Delivers a row's change as Supabase does.
async fn hook(t: &TestApp, kind: &str, record: Value, old_record: Value) -> Reply {
    let body = json!({"type": kind, "schema": "auth", "table": "users", "record": record, "old_record": old_record}).to_string();
    let call = t.anonymous().call(http::Method::POST, SUPABASE).body("application/json", body);
    call.header("authorization", format!("Bearer {SUPABASE_SECRET}")).await
}

#[track_caller]
fn processed(reply: Reply) {
    assert_eq!(reply.expect(200), json!({"status": "processed"}));
}

/// Clerk's object of a user with this address and first name, changed at this time in milliseconds.
fn user(id: &str, email: &str, name: &str, updated_at: i64) -> Value {
    json!({
        "id": id, "object": "user", "first_name": name, "last_name": "Lovelace", "image_url": "https://img.example.com/a.png",
        "primary_email_address_id": "idn_1", "updated_at": updated_at, "created_at": 1,
        "email_addresses": [{"id": "idn_0", "email_address": "other@example.com"}, {"id": "idn_1", "email_address": email}]
    })
}

/// Address, name, image and activity of a user, joined by spaces; `None` if there is none.
async fn stored(t: &TestApp, id: &str) -> Option<String> {
    let text = format!(
        "SELECT email || ' ' || COALESCE(full_name, '-') || ' ' || COALESCE(avatar_url, '-') || CASE WHEN is_active THEN '' ELSE ' inactive' END
         FROM users WHERE id = '{id}'"
    );
    t.texts(&text).await.pop()
}

/// The addresses that welcome mails were enqueued for.
async fn welcomed(t: &TestApp) -> Vec<String> {
    let jobs = t.app.jobs.page(&t.app.db, None, 100, 0).await.unwrap().0;
    let welcome = jobs.iter().filter(|job| job.function == "send_welcome_email");
    welcome.map(|job| serde_json::from_str::<Value>(&job.kwargs).unwrap()["email"].as_str().unwrap().to_owned()).collect()
}
