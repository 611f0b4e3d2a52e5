//! Checkouts with an `Idempotency-Key`: the first answer again, and a claim while Stripe is called.

use chrono::TimeDelta;
use serde_json::json;

use super::stub::Stub;
use super::{checkout, checkout_body, expect_stripe_failed, selling};
use crate::harness::{Backend, Client, Reply};

crate::on_both_backends![
    repeated_key_replays_the_first_answer,
    key_of_failed_checkout_can_be_used_again,
    twin_while_stripe_is_called_returns_409,
    claim_of_lost_request_ends_after_its_deadline,
];

async fn keyed(client: &Client, plan: &str) -> Reply {
    client.post("/app/billing/checkout", checkout_body(plan)).key("k").await
}

async fn repeated_key_replays_the_first_answer(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    let first = keyed(&ada, "monthly").await;
    assert!(first.header("idempotency-replayed").is_none());
    let (first, calls) = (first.expect(200), stub.asked().len());
    let again = keyed(&ada, "monthly").await;
    assert_eq!((again.header("idempotency-replayed"), again.json()), (Some("true"), first.clone()));
    assert_eq!(stub.asked().len(), calls);
    assert_eq!(keyed(&ada, "yearly").await.expect_invalid(), ["Idempotency-Key"]);
    // Keys belong to the caller, and end after a day.
    assert_ne!(keyed(&t.user("bob").await, "monthly").await.expect(200), first);
    t.clock.advance(TimeDelta::hours(24));
    let ada = t.user("ada").await;
    assert!(keyed(&ada, "monthly").await.header("idempotency-replayed").is_none());
}

async fn key_of_failed_checkout_can_be_used_again(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    stub.overrule(|_| Some((400, json!({"error": {}}))));
    expect_stripe_failed(keyed(&ada, "monthly").await);
    stub.recover();
    keyed(&ada, "yearly").await.expect(200);
}

async fn twin_while_stripe_is_called_returns_409(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    checkout(&ada, "monthly").await.expect(200);
    // Held until the twin was answered.
    let held = stub.with_gate("/v1/subscriptions");
    let first = tokio::spawn({
        let ada = ada.clone();
        async move { keyed(&ada, "monthly").await }
    });
    held.reached().await;
    let twin = keyed(&ada, "monthly").await;
    assert_eq!(twin.header("retry-after"), Some("1"));
    assert_eq!(twin.expect_error(409, "CONFLICT"), json!({}));
    assert_eq!(keyed(&ada, "yearly").await.expect_invalid(), ["Idempotency-Key"]);
    held.open();
    let first = first.await.unwrap().expect(200);
    assert_eq!(keyed(&ada, "monthly").await.expect(200), first);
}

async fn claim_of_lost_request_ends_after_its_deadline(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    keyed(&ada, "monthly").await.expect(200);
    // As if the process had died before its answer.
    let until = (t.clock.now() + TimeDelta::seconds(40)).to_rfc3339();
    t.sql(&format!("UPDATE idempotency_keys SET answer = NULL, expires_at = '{until}'")).await;
    keyed(&ada, "monthly").await.expect_error(409, "CONFLICT");
    t.clock.advance(TimeDelta::seconds(41));
    keyed(&ada, "monthly").await.expect(200);
}
