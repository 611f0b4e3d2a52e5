//! Checkout: what is asked of Stripe, who is refused, and customers that are made once and made anew.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::stub::{Stub, error};
use super::{
    become_customer, checkout, checkout_body, customer_of, deliver, event, expect_stripe_failed, selling, settings, subscription,
};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    checkout_asks_for_one_subscription,
    customer_is_made_once_and_kept,
    open_checkout_of_same_price_is_given_again,
    running_subscription_refuses_another,
    app_store_subscription_refuses_checkout,
    parallel_checkouts_make_one_customer,
    deleted_customer_is_made_anew,
    customer_deleted_event_leads_to_a_new_one,
    checkout_checks_urls_before_configuration,
    customer_of_another_user_is_not_taken,
];

async fn checkout_asks_for_one_subscription(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    let session = checkout(&ada, "monthly").await.expect(200);
    assert_eq!(session, json!({"session_id": "cs_2", "url": "https://checkout.example/cs_2"}));
    let asked = stub.only("POST /v1/checkout/sessions");
    let form: Vec<_> = asked.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        form,
        [
            ("allow_promotion_codes", "true"),
            ("cancel_url", "https://app.example.com/no"),
            ("client_reference_id", "ada"),
            ("customer", "cus_1"),
            ("line_items[0][price]", "price_month"),
            ("line_items[0][quantity]", "1"),
            ("metadata[user_id]", "ada"),
            ("mode", "subscription"),
            ("subscription_data[metadata][user_id]", "ada"),
            ("success_url", "https://app.example.com/ok?session={CHECKOUT_SESSION_ID}"),
        ]
    );
    for asked in stub.asked() {
        assert_eq!(asked.header("authorization"), "Bearer sk_test_key");
        assert_eq!(asked.header("stripe-version"), "2026-09-30.endive");
        assert_eq!(asked.header("idempotency-key").is_empty(), asked.method == "GET", "{asked:?}");
        assert_eq!(asked.header("content-type") == "application/x-www-form-urlencoded", asked.method != "GET", "{asked:?}");
    }
    checkout(&t.user("bob").await, "yearly").await.expect(200);
    assert_eq!(stub.asked().last().unwrap().form["line_items[0][price]"], "price_year");
}

async fn customer_is_made_once_and_kept(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    ada.patch("/app/users/me", json!({"full_name": "Ada Lovelace"})).await.expect(200);
    checkout(&ada, "monthly").await.expect(200);
    let form = stub.only("POST /v1/customers").form;
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(form, [("email", "ada@example.test"), ("metadata[user_id]", "ada"), ("name", "Ada Lovelace")]);
    assert_eq!(customer_of(&t, "ada").await, "cus_1");
    checkout(&ada, "yearly").await.expect(200);
    stub.only("POST /v1/customers");
    let list = stub.asked().into_iter().find(|asked| asked.path == "/v1/subscriptions").unwrap();
    assert_eq!((list.query["customer"].as_str(), list.query["status"].as_str()), ("cus_1", "all"));
}

async fn open_checkout_of_same_price_is_given_again(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    let first = checkout(&ada, "monthly").await.expect(200);
    assert_eq!(checkout(&ada, "monthly").await.expect(200), first);
    assert_eq!(stub.asked().iter().filter(|asked| asked.path == "/v1/checkout/sessions" && asked.method == "POST").count(), 1);
    let listed = stub.asked().into_iter().rfind(|asked| asked.path == "/v1/checkout/sessions").unwrap();
    assert!(listed.query.values().any(|value| value == "data.line_items"), "{:?}", listed.query);
    // Another price and other pages are another checkout.
    let yearly = checkout(&ada, "yearly").await.expect(200);
    assert_ne!(yearly, first);
    let mut elsewhere = checkout_body("monthly");
    elsewhere["cancel_url"] = "https://app.example.com/other".into();
    assert_ne!(ada.post("/app/billing/checkout", elsewhere).await.expect(200), first);
    assert_eq!(checkout(&ada, "monthly").await.expect(200), first);
    // A checkout that is over is not given again.
    stub.with(|account| account.checkouts.iter_mut().for_each(|checkout| checkout["status"] = "expired".into()));
    assert_ne!(checkout(&ada, "monthly").await.expect(200), first);
}

async fn running_subscription_refuses_another(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    for (n, (status, refused)) in [
        ("active", true),
        ("trialing", true),
        ("past_due", true),
        ("unpaid", true),
        ("incomplete", true),
        ("canceled", false),
        ("incomplete_expired", false),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("user{n}");
        let user = t.user(&name).await;
        become_customer(&t, &name, &format!("cus_{name}")).await;
        stub.with(|account| account.subscriptions.push(subscription(&name, status)));
        let reply = checkout(&user, "monthly").await;
        if refused {
            reply.expect_error(400, "BAD_REQUEST");
        } else {
            reply.expect(200);
        }
    }
}

async fn app_store_subscription_refuses_checkout(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    for (n, provider, status) in [(1, "apple", "canceled"), (2, "google", "active")] {
        let end = t.clock.now().to_rfc3339();
        t.sql(&format!(
            "INSERT INTO subscriptions (id, user_id, provider, external_id, plan, status, event_at, plan_at, event_rank)
             VALUES ('0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4{n}', 'ada', '{provider}', 'x{n}', 'pro', '{status}', '{end}', '{end}', 0)"
        ))
        .await;
        let reply = checkout(&ada, "monthly").await;
        if status == "active" {
            reply.expect_error(400, "BAD_REQUEST");
        } else {
            reply.expect(200);
        }
    }
}

async fn parallel_checkouts_make_one_customer(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    // Stripe refuses a key whose first request is still running.
    let mut busy = 3;
    stub.overrule(move |asked| {
        let refuse = asked.method == "POST" && asked.path == "/v1/customers" && busy > 0;
        busy -= i32::from(refuse);
        refuse.then(|| error(409, "idempotency_error", "idempotency_key_in_use", ""))
    });
    let replies = join_all((0..8).map(|_| checkout(&ada, "monthly"))).await;
    let sessions: Vec<Value> = replies.into_iter().map(|reply| reply.expect(200)).collect();
    assert!(sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
    let keys: Vec<_> = stub.asked().into_iter().filter(|asked| asked.path == "/v1/customers").map(|asked| asked.header("idempotency-key").to_owned()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!((customer_of(&t, "ada").await.as_str(), stub.with(|account| account.checkouts.len())), ("cus_1", 1));
}

async fn deleted_customer_is_made_anew(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    checkout(&ada, "monthly").await.expect(200);
    for gone in ["cus_1", "cus_3"] {
        stub.with(|account| account.gone.insert(gone.to_owned()));
        let session = checkout(&ada, "monthly").await.expect(200);
        let asked = stub.asked().last().unwrap().clone();
        assert_eq!((asked.path.as_str(), asked.form["customer"] != gone), ("/v1/checkout/sessions", true), "{session}");
        assert_eq!(customer_of(&t, "ada").await, asked.form["customer"]);
    }
    let keys: std::collections::HashSet<_> =
        stub.asked().into_iter().filter(|asked| asked.path == "/v1/customers").map(|asked| asked.header("idempotency-key").to_owned()).collect();
    assert_eq!(keys.len(), 3, "Stripe answers a repeated key with the customer that is gone");
    // A missing price is no missing customer.
    stub.overrule(|asked| (asked.path == "/v1/checkout/sessions").then(|| super::stub::missing("line_items[0][price]")));
    expect_stripe_failed(checkout(&ada, "yearly").await);
    assert_ne!(customer_of(&t, "ada").await, "-");
}

async fn customer_deleted_event_leads_to_a_new_one(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    checkout(&ada, "monthly").await.expect(200);
    stub.with(|account| account.gone.insert("cus_1".to_owned()));
    let gone = json!({"id": "cus_1", "object": "customer", "deleted": true});
    let deleted = event(&t, "customer.deleted", &gone, 0);
    deliver(&t, &deleted).await.expect(200);
    assert_eq!(customer_of(&t, "ada").await, "-");
    checkout(&ada, "monthly").await.expect(200);
    let made = customer_of(&t, "ada").await;
    assert!(made.starts_with("cus_") && made != "cus_1", "{made}");
    // The customer of another event is not the user's, so nothing is cleared.
    deliver(&t, &event(&t, "customer.deleted", &gone, 0)).await.expect(200);
    assert_eq!(customer_of(&t, "ada").await, made);
}

async fn checkout_checks_urls_before_configuration(b: Backend) {
    let t = TestApp::start(b).await;
    let ada = t.user("ada").await;
    let with = |field: &str, url: &str| {
        let mut body = json!({"plan": "monthly", "success_url": "http://localhost:3000/ok", "cancel_url": "http://localhost:3000/no"});
        body[field] = url.into();
        body
    };
    for url in ["javascript:alert(1)", "/relative", "https://evil.example/x", "http://localhost:3000@evil.example/", ""] {
        for field in ["success_url", "cancel_url"] {
            let fields = ada.post("/app/billing/checkout", with(field, url)).await.expect_invalid();
            assert_eq!(fields, [field], "{url}");
        }
        let fields = ada.get("/app/billing/portal").query(&[("return_url", url)]).await.expect_invalid();
        assert_eq!(fields, ["return_url"], "{url}");
    }
    for body in [json!({}), json!({"plan": "weekly", "success_url": "http://localhost/", "cancel_url": "http://localhost/"}), json!([])] {
        ada.post("/app/billing/checkout", body).await.expect_error(422, "VALIDATION_ERROR");
    }
    ada.post("/app/billing/checkout", with("plan", "monthly")).await.expect_error(503, "SERVICE_UNAVAILABLE");
    ada.get("/app/billing/portal?return_url=http://localhost:3000/").await.expect_error(503, "SERVICE_UNAVAILABLE");
    // A price that is not configured.
    let stub = Stub::start().await;
    let mut vars = settings(&stub);
    vars.push(("STRIPE_PRICE_ID_YEARLY", ""));
    let t = TestApp::with(b, &vars).await;
    checkout(&t.user("ada").await, "yearly").await.expect_error(503, "SERVICE_UNAVAILABLE");
    assert!(stub.asked().is_empty());
}

async fn customer_of_another_user_is_not_taken(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    t.user("bob").await;
    become_customer(&t, "bob", "cus_1").await;
    checkout(&ada, "monthly").await.expect_error(500, "INTERNAL_ERROR");
    assert_eq!((customer_of(&t, "ada").await.as_str(), customer_of(&t, "bob").await.as_str()), ("-", "cus_1"));
}
