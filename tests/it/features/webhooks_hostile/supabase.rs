//! Supabase in the table of hostile deliveries. Its proof is a secret alone, which says nothing about the body or the time.

use serde_json::{Value, json};

use super::{Headers, Sender, Told};
use crate::harness::webhooks::SUPABASE_SECRET;

pub const SENDER: Sender = Sender {
    provider: "supabase",
    refused: 401,
    needs_user: false,
    prove: |_, _, _| vec![("authorization", format!("Bearer {SUPABASE_SECRET}"))],
    forge,
    event,
    unknown,
    nonsense: &[
        r#"{"type": "INSERT"}"#,
        r#"{"type": "INSERT", "record": null, "old_record": null}"#,
        r#"{"type": "INSERT", "record": 5}"#,
        r#"{"type": "INSERT", "record": {}, "old_record": []}"#,
        r#"{"type": "", "record": {}}"#,
        r#"{"type": 7, "record": {}}"#,
        r#"{"record": {"id": "x"}}"#,
        r#"{"type": "INS\u0000ERT", "record": {}}"#,
    ],
};

fn event(told: &Told) -> Value {
    let record = json!({
        "id": told.user, "email": format!("{}@example.com", told.user), "raw_user_meta_data": {"full_name": told.text},
        "updated_at": format!("2026-01-10T12:00:0{}Z", told.version), "token": told.id
    });
    json!({"type": if told.version == 0 { "INSERT" } else { "UPDATE" }, "schema": "auth", "table": "users", "record": record, "old_record": null})
}

fn unknown(user: &str) -> Vec<Value> {
    let row = json!({"id": user, "email": "nobody@example.com"});
    let of = |kind: &str, table: &str| json!({"type": kind, "table": table, "record": row, "old_record": row});
    vec![
        of("UPDATE", "auth.users"),
        of("DELETE", "auth.users"),
        of("TRUNCATE", "auth.users"),
        of("insert", "auth.users"),
        of("INSERT", "public.users"),
        json!({"type": "INSERT", "table": "auth.users", "record": {}}),
        json!({"type": "INSERT", "table": "auth.users", "record": null, "old_record": row}),
        json!({"type": "INSERT", "record": row}),
        json!({"type": "INSERT", "table": 5, "schema": [], "record": row}),
    ]
}

fn forge(_: &str, _: i64, _: &[u8]) -> Vec<(&'static str, Headers)> {
    let with = |value: String| vec![("authorization", value)];
    vec![
        ("no secret", vec![]),
        ("no scheme", with(SUPABASE_SECRET.to_owned())),
        ("another scheme", with(format!("Basic {SUPABASE_SECRET}"))),
        ("empty", with("Bearer ".to_owned())),
        ("truncated", with(format!("Bearer {}", &SUPABASE_SECRET[..SUPABASE_SECRET.len() - 1]))),
        ("longer", with(format!("Bearer {SUPABASE_SECRET}x"))),
        ("upper case", with(format!("Bearer {}", SUPABASE_SECRET.to_uppercase()))),
        ("twice", with(format!("Bearer {SUPABASE_SECRET}, Bearer {SUPABASE_SECRET}"))),
        ("of 7,000 characters", with(format!("Bearer {}", "x".repeat(7000)))),
    ]
}
