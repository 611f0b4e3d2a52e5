//! Billing with Stripe through HTTP, against a stub of Stripe's API. Every file in this folder becomes a module automatically.

automod::dir!("tests/it/features/billing");

use http::Method;
use omnistack::platform::crypto;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, Reply, TestApp};
use stub::Stub;

const SECRET: &str = "whsec_test";
const URLS: [(&str, &str); 2] = [("success_url", "https://app.example.com/ok?session={CHECKOUT_SESSION_ID}"), ("cancel_url", "https://app.example.com/no")];

/// Settings of a service that sells with the stub.
fn settings(stub: &Stub) -> Vec<(&str, &str)> {
    vec![
        ("STRIPE_SECRET_KEY", "sk_test_key"),
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("STRIPE_PRICE_ID_MONTHLY", "price_month"),
        ("STRIPE_PRICE_ID_YEARLY", "price_year"),
        ("STRIPE_PRICE_ID_ENTERPRISE", "price_big"),
        ("STRIPE_API_BASE", &stub.url),
        ("BILLING_ALLOWED_REDIRECT_HOSTS", "app.example.com"),
    ]
}

async fn selling(b: Backend, stub: &Stub) -> TestApp {
    TestApp::with(b, &settings(stub)).await
}

/// A service that receives events and has no key to ask with.
async fn receiving(b: Backend) -> TestApp {
    let vars = [("STRIPE_WEBHOOK_SECRET", SECRET), ("STRIPE_PRICE_ID_MONTHLY", "price_month"), ("STRIPE_PRICE_ID_ENTERPRISE", "price_big")];
    TestApp::with(b, &vars).await
}

async fn checkout(client: &Client, plan: &str) -> Reply {
    client.post("/app/billing/checkout", checkout_body(plan)).await
}

fn checkout_body(plan: &str) -> Value {
    let [success, cancel] = URLS;
    json!({"plan": plan, success.0: success.1, cancel.0: cancel.1})
}

async fn cancel(client: &Client, query: &str) -> Reply {
    client.call(Method::POST, &format!("/app/billing/cancel{query}")).await
}

async fn resume(client: &Client) -> Reply {
    client.call(Method::POST, "/app/billing/resume").await
}

/// Plan and status of a user, as they are stored.
async fn stored(client: &Client) -> (String, String) {
    let me = client.get("/app/users/me").await.expect(200);
    let text = |name: &str| me[name].as_str().unwrap_or("-").to_owned();
    (text("subscription_plan"), text("subscription_status"))
}

fn state(plan: &str, status: &str) -> (String, String) {
    (plan.to_owned(), status.to_owned())
}

async fn customer_of(t: &TestApp, user: &str) -> String {
    let found = t.texts(&format!("SELECT COALESCE(stripe_customer_id, '-') FROM users WHERE id = '{user}'")).await;
    found.into_iter().next().unwrap()
}

/// Makes the user a customer without a checkout.
async fn become_customer(t: &TestApp, user: &str, customer: &str) {
    t.sql(&format!("UPDATE users SET stripe_customer_id = '{customer}' WHERE id = '{user}'")).await;
}

/// A subscription of the user's customer `cus_<user>`, as events of older versions of the API hold it.
fn subscription(user: &str, status: &str) -> Value {
    json!({
        "id": format!("sub_{user}"), "object": "subscription", "customer": format!("cus_{user}"), "status": status, "metadata": {"user_id": user},
        "cancel_at_period_end": false, "cancel_at": null, "current_period_end": 2_000_000_000,
        "items": {"object": "list", "data": [{"id": "si_1", "price": {"id": "price_month"}, "current_period_end": 2_000_000_000}]}
    })
}

/// An event of this type, made `ago` seconds before now.
fn event(t: &TestApp, kind: &str, object: &Value, ago: i64) -> Value {
    let id = format!("evt_{}", uuid::Uuid::now_v7().simple());
    let created = t.clock.now().timestamp() - ago;
    json!({"id": id, "object": "event", "type": kind, "created": created, "api_version": "2024-06-20", "data": {"object": object}})
}

/// Signs a body as Stripe does, at a time relative to now.
fn sign(t: &TestApp, body: &str, secret: &str, seconds: i64) -> String {
    let time = t.clock.now().timestamp() + seconds;
    let tag = crypto::hmac_sha256(secret.as_bytes(), format!("{time}.{body}").as_bytes());
    format!("t={time},v1={}", crypto::hex(&tag))
}

async fn post(t: &TestApp, body: &str, signature: &str) -> Reply {
    let call = t.anonymous().call(Method::POST, "/public/webhooks/stripe").body("application/json", body.to_owned());
    call.header("stripe-signature", signature).await
}

async fn deliver(t: &TestApp, event: &Value) -> Reply {
    let body = event.to_string();
    post(t, &body, &sign(t, &body, SECRET, 0)).await
}

/// Delivers events that must be processed: each a type, an object and its age in seconds.
async fn tell(t: &TestApp, events: &[(&str, &Value, i64)]) {
    for (kind, object, ago) in events {
        assert_eq!(deliver(t, &event(t, kind, object, *ago)).await.expect(200), json!({"status": "processed"}), "{kind}");
    }
}

#[track_caller]
fn expect_stripe_failed(reply: Reply) {
    assert_eq!(reply.expect_error(502, "EXTERNAL_SERVICE_ERROR"), json!({"service": "stripe"}));
}
