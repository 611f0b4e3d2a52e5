//! Stripe failing: retries, time-outs, the circuit breaker, refused keys, and what clients and logs learn of it.

use http::Method;
use serde_json::{Value, json};

use super::stub::{Stub, error};
use super::{become_customer, cancel, checkout, expect_stripe_failed, resume, selling, settings, subscription};
use crate::harness::{Backend, Client, Reply, TestApp};

crate::on_sqlite![
    server_error_is_repeated_with_the_same_key,
    lasting_server_error_is_502,
    refusal_is_502_and_not_repeated,
    stripe_may_forbid_the_retry,
    unreadable_answer_is_502,
    unreachable_stripe_opens_the_breaker,
    refused_key_is_an_account_problem,
    declined_card_is_no_account_problem,
    object_of_other_mode_is_no_missing_customer,
    status_tolerates_failure,
];

async fn every_call(client: &Client) -> Vec<Reply> {
    vec![
        checkout(client, "monthly").await,
        client.get("/app/billing/portal?return_url=https://app.example.com/").await,
        client.get("/app/billing/invoices").await,
        cancel(client, "").await,
        cancel(client, "?immediate=true").await,
        resume(client).await,
    ]
}

async fn customer(b: Backend, stub: &Stub) -> (TestApp, Client) {
    let t = selling(b, stub).await;
    let ada = t.user("ada").await;
    become_customer(&t, "ada", "cus_ada").await;
    (t, ada)
}

fn internal() -> (u16, Value) {
    (500, json!({"error": {"type": "api_error", "message": "secret words"}}))
}

async fn server_error_is_repeated_with_the_same_key(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    let mut failures = 2;
    stub.overrule(move |asked| {
        let fails = asked.path == "/v1/customers" && failures > 0;
        failures -= i32::from(fails);
        fails.then(internal)
    });
    checkout(&ada, "monthly").await.expect(200);
    let made: Vec<_> = stub.asked().into_iter().filter(|asked| asked.path == "/v1/customers").collect();
    assert_eq!(made.len(), 3);
    assert!(made.iter().all(|asked| asked.header("idempotency-key") == made[0].header("idempotency-key") && asked.form == made[0].form));
}

async fn lasting_server_error_is_502(b: Backend) {
    for (status, body) in [internal(), (503, json!({})), (429, json!({"error": {"type": "rate_limit_error"}}))] {
        let stub = Stub::start().await;
        let (_t, ada) = customer(b, &stub).await;
        stub.overrule(move |_| Some((status, body.clone())));
        let reply = checkout(&ada, "monthly").await;
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert!(!reply.text().contains("secret words"));
        expect_stripe_failed(reply);
        assert_eq!(stub.asked().len(), 3, "two retries");
    }
}

async fn refusal_is_502_and_not_repeated(b: Backend) {
    let stub = Stub::start().await;
    let (_t, ada) = customer(b, &stub).await;
    stub.overrule(|_| Some(error(400, "invalid_request_error", "parameter_invalid_empty", "x")));
    for reply in every_call(&ada).await {
        assert!(reply.header("retry-after").is_none() && !reply.text().contains("ada@example.test"));
        expect_stripe_failed(reply);
    }
    assert_eq!(stub.asked().len(), 6);
}

async fn stripe_may_forbid_the_retry(b: Backend) {
    let stub = Stub::start().await;
    let (_t, ada) = customer(b, &stub).await;
    stub.answer_raw(500, ("stripe-should-retry", "false"), "{}");
    expect_stripe_failed(ada.get("/app/billing/invoices").await);
    assert_eq!(stub.asked().len(), 1);
}

async fn unreadable_answer_is_502(b: Backend) {
    for (status, body) in [(200, "<html>"), (200, "[]"), (200, r#"{"data": ["#), (200, ""), (500, "<html>"), (302, "")] {
        let stub = Stub::start().await;
        let (_t, ada) = customer(b, &stub).await;
        stub.answer_raw(status, ("content-type", "text/html"), body);
        expect_stripe_failed(ada.get("/app/billing/invoices").await);
    }
}

async fn unreachable_stripe_opens_the_breaker(b: Backend) {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    let t = TestApp::with(b, &[("STRIPE_SECRET_KEY", "sk_test_key"), ("STRIPE_API_BASE", &url)]).await;
    let ada = t.user("ada").await;
    become_customer(&t, "ada", "cus_ada").await;
    for _ in 0..5 {
        expect_stripe_failed(ada.get("/app/billing/invoices").await);
    }
    let started = std::time::Instant::now();
    let reply = cancel(&ada, "").await;
    assert!(started.elapsed() < std::time::Duration::from_millis(300), "the breaker is open: no call is made");
    let pause: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((25..=30).contains(&pause), "{pause}");
    expect_stripe_failed(reply);
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    assert!(page.contains("external_service_breaker_state{service=\"stripe\"} 2"), "{page}");
}

async fn refused_key_is_an_account_problem(b: Backend) {
    let stub = Stub::start().await;
    let (t, ada) = customer(b, &stub).await;
    stub.overrule(|_| Some(error(401, "invalid_request_error", "", "")));
    expect_stripe_failed(ada.get("/app/billing/invoices").await);
    let vendors = async || t.anonymous().get("/public/health/ready").await.expect(200)["vendors"].clone();
    assert_eq!(vendors().await["stripe"]["account"], "key_refused");
    stub.recover();
    ada.get("/app/billing/invoices").await.expect(200);
    assert_eq!(vendors().await, Value::Null);
}

async fn declined_card_is_no_account_problem(b: Backend) {
    let stub = Stub::start().await;
    let (t, ada) = customer(b, &stub).await;
    stub.with(|account| account.subscriptions.push(subscription("ada", "active")));
    stub.overrule(|asked| (asked.method == Method::POST).then(|| error(402, "card_error", "card_declined", "")));
    expect_stripe_failed(cancel(&ada, "").await);
    assert_eq!(t.anonymous().get("/public/health/ready").await.expect(200)["vendors"], Value::Null);
}

async fn object_of_other_mode_is_no_missing_customer(b: Backend) {
    let stub = Stub::start().await;
    let (t, ada) = customer(b, &stub).await;
    let message = "No such customer: 'cus_ada'; a similar object exists in live mode, but a test mode key was used to make this request.";
    stub.overrule(move |_| Some((400, json!({"error": {"code": "resource_missing", "param": "customer", "message": message}}))));
    for reply in every_call(&ada).await {
        expect_stripe_failed(reply);
    }
    assert_eq!(super::customer_of(&t, "ada").await, "cus_ada");
}

async fn status_tolerates_failure(b: Backend) {
    let stub = Stub::start().await;
    let t = TestApp::with(b, &settings(&stub)).await;
    let ada = t.user("ada").await;
    become_customer(&t, "ada", "cus_ada").await;
    stub.overrule(|_| Some(error(400, "invalid_request_error", "", "")));
    assert_eq!(ada.get("/app/billing/status").await.expect(200)["plan"], "free");
    stub.recover();
    stub.with(|account| account.subscriptions = vec![subscription("other", "canceled"), subscription("ada", "active")]);
    let status = ada.get("/app/billing/status").await.expect(200);
    assert_eq!((&status["plan"], &status["status"]), (&json!("pro"), &json!("active")));
}
