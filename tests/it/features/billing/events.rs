//! Stripe's events: signatures, shapes, and the effect of each type.

use serde_json::{Value, json};

use super::stub::{Stub, missing};
use super::{SECRET, customer_of, deliver, event, post, receiving, selling, settings, sign, state, stored, subscription, tell};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    signatures_are_checked_over_the_exact_bytes,
    malformed_events_are_refused,
    events_without_effect_are_processed_once,
    unconfigured_webhook_returns_503,
    subscription_events_decide_plan_and_status,
    subscription_of_unknown_user_is_processed,
    customer_of_event_is_linked_to_the_named_user,
    another_customer_does_not_replace_the_users_own,
    end_after_deleted_customer_still_counts,
    checkout_completed_reads_the_subscription,
    checkout_completed_without_key_links_the_customer,
    checkout_completed_while_stripe_fails_is_retried,
    meter_error_raises_metric,
    stored_payload_is_the_data_object,
];

async fn signatures_are_checked_over_the_exact_bytes(b: Backend) {
    let t = TestApp::with(b, &[("STRIPE_WEBHOOK_SECRET", "whsec_old,whsec_test")]).await;
    let pretty = || serde_json::to_string_pretty(&event(&t, "customer.created", &json!({"id": "cus_1"}), 0)).unwrap() + "\n";
    for secret in ["whsec_old", SECRET] {
        let body = pretty();
        post(&t, &body, &sign(&t, &body, secret, 0)).await.expect(200);
    }
    let body = pretty();
    let good = sign(&t, &body, SECRET, 0);
    let (time, v1) = good.split_once(',').unwrap();
    let bad = [
        sign(&t, &body, "whsec_other", 0),
        sign(&t, &body, "whsec_old,whsec_test", 0),
        sign(&t, &body, SECRET, -301),
        sign(&t, &body, SECRET, 301),
        sign(&t, &body.replace("created", "deleted"), SECRET, 0),
        good.replace("v1=", "v0="),
        good[..good.len() - 1].to_owned(),
        time.to_owned(),
        v1.to_owned(),
        "t=abc,v1=zzz".to_owned(),
        String::new(),
    ];
    for signature in &bad {
        post(&t, &body, signature).await.expect_error(400, "BAD_REQUEST");
    }
    let unsigned = t.anonymous().call(http::Method::POST, "/public/webhooks/stripe").body("application/json", body.clone());
    unsigned.await.expect_error(400, "BAD_REQUEST");
    // A refused delivery leaves no trace: the same event is accepted later.
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events").await, 2);
    let several = format!("{time},v1={},{v1}", "0".repeat(64));
    post(&t, &body, &several).await.expect(200);
    assert_eq!(post(&t, &body, &good).await.expect(200), json!({"status": "already_processed"}));
    t.anonymous().get("/public/webhooks/stripe").await.expect_error(405, "METHOD_NOT_ALLOWED");
}

async fn malformed_events_are_refused(b: Backend) {
    let t = receiving(b).await;
    let deep = format!(r#"{{"id": "evt_1", "type": "x", "data": {{"object": {{"a": {}1{}}}}}}}"#, "[".repeat(3000), "]".repeat(3000));
    for body in [
        "not json",
        "{",
        "",
        "{}",
        "[]",
        "null",
        r#"{"id": "evt_x"}"#,
        r#"{"type": "x"}"#,
        r#"{"id": "", "type": "customer.created", "data": {"object": {}}}"#,
        r#"{"id": "evt_1", "type": "", "data": {"object": {}}}"#,
        r#"{"id": 5, "type": 6, "data": 7}"#,
        r#"{"id": "evt_1", "type": "x", "data": {"object": []}}"#,
        r#"{"id": "evt_1", "type": "x", "data": {}}"#,
        &deep,
    ] {
        post(&t, body, &sign(&t, body, SECRET, 0)).await.expect_error(400, "BAD_REQUEST");
    }
    let large = json!({"id": "evt_1", "type": "x", "data": {"object": {"pad": "a".repeat(1 << 20)}}}).to_string();
    post(&t, &large, &sign(&t, &large, SECRET, 0)).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events").await, 0);
}

async fn events_without_effect_are_processed_once(b: Backend) {
    let t = receiving(b).await;
    let of_customer = json!({"id": "x_1", "customer": "cus_nobody", "subscription": null, "status": "active"});
    for kind in [
        "some.future.event",
        "customer.created",
        "invoice.paid",
        "invoice.payment_failed",
        "checkout.session.completed",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.deleted",
    ] {
        let event = event(&t, kind, &of_customer, 0);
        assert_eq!(deliver(&t, &event).await.expect(200), json!({"status": "processed"}), "{kind}");
        assert_eq!(deliver(&t, &event).await.expect(200), json!({"status": "already_processed"}), "{kind}");
    }
    let thin = json!({"id": "evt_thin", "object": "v2.core.event", "type": "v2.core.account.updated", "created": "2026-11-27T10:00:00.000Z"});
    assert_eq!(deliver(&t, &thin).await.expect(200), json!({"status": "processed"}));
    assert_eq!(deliver(&t, &thin).await.expect(200), json!({"status": "already_processed"}));
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events WHERE occurred_at IS NULL").await, 0);
}

async fn unconfigured_webhook_returns_503(b: Backend) {
    let stub = Stub::start().await;
    let mut vars = settings(&stub);
    vars.push(("STRIPE_WEBHOOK_SECRET", ""));
    let t = TestApp::with(b, &vars).await;
    deliver(&t, &event(&t, "customer.created", &json!({}), 0)).await.expect_error(503, "SERVICE_UNAVAILABLE");
    post(&t, "not json", "").await.expect_error(503, "SERVICE_UNAVAILABLE");
}

async fn subscription_events_decide_plan_and_status(b: Backend) {
    let t = receiving(b).await;
    for (name, price, plan) in [("ada", "price_month", "pro"), ("bob", "price_unknown", "pro"), ("cleo", "price_big", "enterprise")] {
        let user = t.user(name).await;
        let with = |status: &str| {
            let mut object = subscription(name, status);
            object["items"]["data"][0]["price"]["id"] = price.into();
            object
        };
        tell(&t, &[("customer.subscription.created", &with("incomplete"), 90)]).await;
        let mut ago = 80;
        for (status, expected) in [
            ("active", state(plan, "active")),
            ("trialing", state(plan, "trialing")),
            ("past_due", state(plan, "past_due")),
            ("paused", state(plan, "incomplete")),
            ("unpaid", state("free", "canceled")),
            ("active", state(plan, "active")),
            ("a_status_of_the_future", state(plan, "active")),
        ] {
            tell(&t, &[("customer.subscription.updated", &with(status), ago)]).await;
            assert_eq!(stored(&user).await, expected, "{name} {status}");
            ago -= 10;
        }
        // The object of the last event may still say that it is active.
        tell(&t, &[("customer.subscription.deleted", &with("active"), 5)]).await;
        assert_eq!(stored(&user).await, state("free", "canceled"));
        tell(&t, &[("customer.subscription.updated", &with("active"), 6)]).await;
        assert_eq!(stored(&user).await, state("free", "canceled"));
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM subscriptions").await, 3);
}

async fn subscription_of_unknown_user_is_processed(b: Backend) {
    let t = receiving(b).await;
    for user_id in [json!("nobody"), json!(""), json!(5), json!("a\u{1}b")] {
        let mut object = subscription("ada", "active");
        object["metadata"] = json!({"user_id": user_id});
        tell(&t, &[("customer.subscription.created", &object, 0)]).await;
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM subscriptions").await, 0);
}

async fn customer_of_event_is_linked_to_the_named_user(b: Backend) {
    let t = receiving(b).await;
    let (ada, _bob) = (t.user("ada").await, t.user("bob").await);
    tell(&t, &[("customer.subscription.created", &subscription("ada", "active"), 10)]).await;
    assert_eq!(customer_of(&t, "ada").await, "cus_ada");
    // From now on by its customer, whatever the object names, and also if the customer is expanded.
    let mut expanded = subscription("ada", "past_due");
    (expanded["customer"], expanded["metadata"]) = (json!({"id": "cus_ada", "object": "customer"}), json!({"user_id": "bob"}));
    expanded["id"] = "sub_second".into();
    tell(&t, &[("customer.subscription.created", &expanded, 5)]).await;
    assert_eq!(t.texts("SELECT DISTINCT user_id FROM subscriptions").await, ["ada"]);
    assert_eq!(stored(&ada).await, state("pro", "active"));
}

async fn another_customer_does_not_replace_the_users_own(b: Backend) {
    let t = receiving(b).await;
    let ada = t.user("ada").await;
    super::become_customer(&t, "ada", "cus_own").await;
    tell(&t, &[("customer.subscription.created", &subscription("ada", "active"), 0)]).await;
    assert_eq!((customer_of(&t, "ada").await.as_str(), stored(&ada).await), ("cus_own", state("pro", "active")));
}

async fn end_after_deleted_customer_still_counts(b: Backend) {
    let t = receiving(b).await;
    let ada = t.user("ada").await;
    let mut nameless = subscription("ada", "canceled");
    nameless["metadata"] = json!({});
    tell(&t, &[("customer.subscription.created", &subscription("ada", "active"), 30)]).await;
    tell(&t, &[("customer.deleted", &json!({"id": "cus_ada", "deleted": true}), 20)]).await;
    assert_eq!(customer_of(&t, "ada").await, "-");
    tell(&t, &[("customer.subscription.deleted", &nameless, 10)]).await;
    assert_eq!(stored(&ada).await, state("free", "canceled"));
    assert_eq!(customer_of(&t, "ada").await, "-");
}

fn completed(user: &str) -> Value {
    json!({"id": "cs_1", "object": "checkout.session", "mode": "subscription", "customer": format!("cus_{user}"),
        "subscription": format!("sub_{user}"), "client_reference_id": user, "metadata": {}})
}

async fn checkout_completed_reads_the_subscription(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let (ada, bob) = (t.user("ada").await, t.user("bob").await);
    stub.with(|account| account.subscriptions = vec![subscription("ada", "active"), subscription("bob", "trialing")]);
    tell(&t, &[("checkout.session.completed", &completed("ada"), 0)]).await;
    assert_eq!(stub.take_calls(), ["GET /v1/subscriptions/sub_ada"]);
    assert_eq!((customer_of(&t, "ada").await.as_str(), stored(&ada).await), ("cus_ada", state("pro", "active")));
    // By metadata where there is no reference.
    let mut by_metadata = completed("bob");
    (by_metadata["client_reference_id"], by_metadata["metadata"]) = (Value::Null, json!({"user_id": "bob"}));
    tell(&t, &[("checkout.session.completed", &by_metadata, 0)]).await;
    assert_eq!((customer_of(&t, "bob").await.as_str(), stored(&bob).await), ("cus_bob", state("pro", "trialing")));
    // A payment without a subscription, and a subscription that Stripe does not have.
    stub.take_calls();
    let mut payment = completed("ada");
    payment["subscription"] = Value::Null;
    tell(&t, &[("checkout.session.completed", &payment, 0)]).await;
    assert!(stub.take_calls().is_empty());
    stub.overrule(|_| Some(missing("id")));
    tell(&t, &[("checkout.session.completed", &completed("ada"), 0)]).await;
    assert_eq!(stored(&ada).await, state("pro", "active"));
}

async fn checkout_completed_without_key_links_the_customer(b: Backend) {
    let t = receiving(b).await;
    let ada = t.user("ada").await;
    tell(&t, &[("checkout.session.completed", &completed("ada"), 5)]).await;
    assert_eq!((customer_of(&t, "ada").await.as_str(), stored(&ada).await), ("cus_ada", state("-", "-")));
    let mut nameless = subscription("ada", "active");
    nameless["metadata"] = json!({});
    tell(&t, &[("customer.subscription.created", &nameless, 10)]).await;
    assert_eq!(stored(&ada).await, state("pro", "active"));
}

async fn checkout_completed_while_stripe_fails_is_retried(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    stub.with(|account| account.subscriptions = vec![subscription("ada", "active")]);
    stub.overrule(|_| Some((400, json!({"error": {"type": "invalid_request_error"}}))));
    let event = event(&t, "checkout.session.completed", &completed("ada"), 0);
    deliver(&t, &event).await.expect_error(500, "INTERNAL_ERROR");
    let failed = "SELECT error_message FROM webhook_events WHERE status = 'failed'";
    assert!(t.texts(failed).await[0].contains("stripe: 400 invalid_request_error"), "{:?}", t.texts(failed).await);
    stub.recover();
    // From what was stored.
    t.clock.advance(chrono::TimeDelta::minutes(2));
    t.run_jobs().await;
    assert_eq!((customer_of(&t, "ada").await.as_str(), stored(&ada).await), ("cus_ada", state("pro", "active")));
    assert_eq!(deliver(&t, &event).await.expect(200), json!({"status": "already_processed"}));
}

async fn meter_error_raises_metric(b: Backend) {
    let t = receiving(b).await;
    let report = json!({"id": "evt_meter", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
        "created": "2026-11-27T10:00:00.000Z", "related_object": {"id": "mtr_1"}, "data": {"developer_message_summary": "There is 1 invalid event"}});
    for _ in 0..2 {
        deliver(&t, &report).await.expect(200);
    }
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    let line = "stripe_meter_error_reports_total{event_type=\"v1.billing.meter.error_report_triggered\"} 1";
    assert!(page.contains(line), "{page}");
}

async fn stored_payload_is_the_data_object(b: Backend) {
    let t = receiving(b).await;
    let object = json!({"id": "cus_1", "object": "customer", "name": "Ada Lovelace"});
    tell(&t, &[("customer.created", &object, 0)]).await;
    let stored = t.texts("SELECT CAST(payload AS TEXT) FROM webhook_events").await;
    assert_eq!(serde_json::from_str::<Value>(&stored[0]).unwrap(), object);
}
