//! Clerk in the table of hostile deliveries.

use serde_json::{Value, json};

use super::{Headers, Sender, Told};
use crate::harness::webhooks::{clerk, svix};

pub const SENDER: Sender = Sender {
    provider: "clerk",
    refused: 400,
    needs_user: false,
    prove: clerk,
    forge,
    event,
    unknown,
    nonsense: &[
        r#"{"data": {}}"#,
        r#"{"type": "", "data": {}}"#,
        r#"{"type": 5, "data": {}}"#,
        r#"{"type": "user.created"}"#,
        r#"{"type": "user.created", "data": null}"#,
        r#"{"type": "user.created", "data": "x"}"#,
        r#"{"type": "user\u0000.created", "data": {}}"#,
    ],
};

fn event(told: &Told) -> Value {
    let data = json!({
        "id": told.user, "first_name": told.text, "updated_at": 1_700_000_000_000_i64 + told.version,
        "email_addresses": [{"id": "x", "email_address": format!("{}@example.com", told.user)}]
    });
    json!({"type": if told.version == 0 { "user.created" } else { "user.updated" }, "data": data})
}

fn unknown(user: &str) -> Vec<Value> {
    let kinds = ["user.updated", "user.deleted", "session.created", "organization.created", "user.future", "", "x"];
    let kinds = kinds.iter().filter(|kind| !kind.is_empty());
    kinds.map(|kind| json!({"type": kind, "data": {"id": user, "user_id": user}})).chain([json!({"type": "user.created", "data": {}})]).collect()
}

fn forge(id: &str, now: i64, body: &[u8]) -> Vec<(&'static str, Headers)> {
    let good = clerk(id, now, body);
    let without = |name: &str| good.iter().filter(|header| header.0 != name).cloned().collect::<Headers>();
    let with = |name: &str, value: String| {
        let mut headers = without(name);
        headers.push((good.iter().find(|header| header.0 == name).unwrap().0, value));
        headers
    };
    let signature = good[2].1.clone();
    vec![
        ("no signature at all", vec![]),
        ("no id", without("svix-id")),
        ("no time", without("svix-timestamp")),
        ("no signature", without("svix-signature")),
        ("empty id", with("svix-id", String::new())),
        ("another key", svix(b"another-key-of-some-length", id, now, body)),
        ("an empty key", svix(b"", id, now, body)),
        ("the variable's text as key", svix(crate::harness::webhooks::CLERK_SECRET.as_bytes(), id, now, body)),
        ("another id", with("svix-id", format!("{id}0"))),
        ("another time", with("svix-timestamp", (now + 1).to_string())),
        ("stale", clerk(id, now - 301, body)),
        ("future", clerk(id, now + 302, body)),
        ("a huge time", clerk(id, i64::MAX, body)),
        ("a negative time", clerk(id, i64::MIN, body)),
        ("a time with a fraction", with("svix-timestamp", format!("{now}.0"))),
        ("garbage", with("svix-signature", "v1,AAAA".to_owned())),
        ("truncated signature", with("svix-signature", signature[..20].to_owned())),
        ("empty signature", with("svix-signature", "v1,".to_owned())),
        ("another version", with("svix-signature", signature.replace("v1,", "v2,"))),
        ("no version", with("svix-signature", signature.replace("v1,", ""))),
        ("hundreds of wrong ones", with("svix-signature", "v1,AAAA ".repeat(500))),
    ]
}
