//! Stripe in the table of hostile deliveries, without a key to ask it with.

use serde_json::{Value, json};

use super::{Headers, Sender, Told};
use crate::harness::webhooks::{STRIPE_SECRET, stripe};

pub const SENDER: Sender = Sender {
    provider: "stripe",
    refused: 400,
    needs_user: true,
    prove: |_, now, body| stripe(STRIPE_SECRET, now, body),
    forge,
    event,
    unknown,
    nonsense: &[
        r#"{"id": "evt_1", "type": "x"}"#,
        r#"{"id": "evt_1", "type": "x", "data": null}"#,
        r#"{"id": "evt_1", "type": "x", "data": {"object": []}}"#,
        r#"{"id": "evt_1", "type": 5, "data": {"object": {}}}"#,
        r#"{"id": "evt_1", "type": "", "data": {"object": {}}}"#,
        r#"{"id": "", "type": "x", "data": {"object": {}}}"#,
        r#"{"id": 5, "type": "x", "data": {"object": {}}}"#,
        r#"{"type": "x", "data": {"object": {}}}"#,
        r#"{"id": "evt\u0000_1", "type": "x", "data": {"object": {}}}"#,
        r#"{"id": "evt_1", "type": "x\u0007", "data": {"object": {}}}"#,
        r#"{"object": "v2.core.event", "type": "x"}"#,
    ],
};

fn event(told: &Told) -> Value {
    let status = ["active", "past_due", "incomplete", "trialing"][usize::try_from(told.version).unwrap() % 4];
    let object = json!({
        "id": format!("sub_{}", told.user), "customer": format!("cus_{}", told.user), "status": status, "metadata": {"user_id": told.user},
        "current_period_end": 2_000_000_000, "items": {"data": [{"price": {"id": told.text}}]}
    });
    let kind = if told.version == 0 { "customer.subscription.created" } else { "customer.subscription.updated" };
    json!({"id": told.id, "object": "event", "type": kind, "created": 1_700_000_000 + told.version, "data": {"object": object}})
}

fn unknown(user: &str) -> Vec<Value> {
    let kinds = [
        "checkout.session.completed",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.deleted",
        "customer.created",
        "invoice.paid",
        "invoice.payment_failed",
        "v1.billing.meter.error_report_triggered",
        "a.future.event",
    ];
    let of = |n: usize, object: Value| json!({"id": format!("evt_{n}"), "type": kinds[n % kinds.len()], "created": 5, "data": {"object": object}});
    let known = json!({"id": "x_1", "customer": "cus_1", "subscription": "sub_1", "client_reference_id": user, "metadata": {"user_id": user}, "status": "active"});
    let odd = json!({"id": 5, "customer": [], "subscription": {}, "client_reference_id": null, "metadata": "x", "status": {}, "items": "x", "current_period_end": "x"});
    let objects = [known, json!({}), odd];
    let mut all: Vec<Value> = (0..kinds.len() * 3).map(|n| of(n, objects[n / kinds.len()].clone())).collect();
    for (n, created) in [json!(i64::MAX), json!(-1), json!(1e300), json!("x"), json!(null)].into_iter().enumerate() {
        let mut event = of(100 + n * 10 + 2, json!({"id": "sub_1", "status": "active", "cancel_at": created, "current_period_end": created}));
        event["created"] = created;
        all.push(event);
    }
    all.push(json!({"id": "evt_v2", "object": "v2.core.event", "type": "v2.core.account.updated", "created": "then"}));
    all
}

fn forge(_: &str, now: i64, body: &[u8]) -> Vec<(&'static str, Headers)> {
    let good = stripe(STRIPE_SECRET, now, body)[0].1.clone();
    let with = |value: String| vec![("stripe-signature", value)];
    let (time, signature) = good.split_once(',').unwrap();
    vec![
        ("no signature", vec![]),
        ("empty", with(String::new())),
        ("another secret", stripe("whsec_other", now, body)),
        ("an empty secret", stripe("", now, body)),
        ("the secret without its prefix", stripe(STRIPE_SECRET.trim_start_matches("whsec_"), now, body)),
        ("stale", stripe(STRIPE_SECRET, now - 301, body)),
        ("future", stripe(STRIPE_SECRET, now + 302, body)),
        ("a huge time", stripe(STRIPE_SECRET, i64::MAX, body)),
        ("a negative time", stripe(STRIPE_SECRET, i64::MIN, body)),
        ("another time", with(format!("t={},{signature}", now + 1))),
        ("no time", with(signature.to_owned())),
        ("two times", with(format!("t={},{good}", now + 1))),
        ("time alone", with(time.to_owned())),
        ("another scheme", with(good.replace("v1=", "v0="))),
        ("truncated", with(good[..good.len() - 2].to_owned())),
        ("garbage", with("t=x,v1=zz".to_owned())),
        ("hundreds of wrong ones", with(format!("{time}{}", ",v1=00".repeat(800)))),
    ]
}
