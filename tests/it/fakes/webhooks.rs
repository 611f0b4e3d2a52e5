//! The webhooks that the look-alike of Stripe sends: order, repetition and what its switches spoil.

use omnistack::fakes::stripe::Switches;
use serde_json::json;

use super::Shop;
use crate::harness::eventually;

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";
const DELETED: &str = "customer.subscription.deleted";
const PAID: &str = "invoice.paid";
const COMPLETED: &str = "checkout.session.completed";

#[tokio::test]
async fn payment_sends_signed_events_in_order() {
    for classic in [false, true] {
        let shop = Shop::open(classic).await;
        let (customer, id) = shop.subscriber().await;
        // The page waited for them.
        assert_eq!(shop.receiver.types(), ["customer.created", CREATED, PAID, UPDATED, COMPLETED]);
        let events = shop.receiver.events();
        let status = |at: usize| events[at]["data"]["object"]["status"].clone();
        assert_eq!((status(1), status(3), status(4)), (json!("incomplete"), json!("active"), json!("complete")));
        assert_eq!(events[3]["data"]["previous_attributes"]["status"], "incomplete");
        let completed = &events[4]["data"]["object"];
        assert_eq!((&completed["subscription"], &completed["customer"]), (&json!(id), &json!(customer)));
        assert_eq!(events[3]["data"]["object"]["metadata"], json!({"user_id": "u1"}));
        let mode = if classic { "classic" } else { "flexible" };
        assert_eq!(events[3]["data"]["object"]["billing_mode"]["type"], mode);
    }
}

#[tokio::test]
async fn refused_event_is_repeated_until_it_is_accepted() {
    let shop = Shop::answered(false, &[500, 400, 503]).await;
    shop.customer().await;
    shop.receiver.expect(0, &["customer.created"; 4]).await;
    let ids: Vec<_> = shop.receiver.events().iter().map(|event| event["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let deliveries = async || shop.get("_fake/deliveries").await.expect(200)["data"].clone();
    eventually("the last answer is noted", async || deliveries().await.as_array().unwrap().len() == 4).await;
    let all = deliveries().await;
    let seen: Vec<_> = all.as_array().unwrap().iter().map(|one| (one["attempt"].clone(), one["status"].clone())).collect();
    assert_eq!(seen, [(1, 500), (2, 400), (3, 503), (4, 200)].map(|(attempt, status)| (json!(attempt), json!(status))));
}

#[tokio::test]
async fn repetition_of_a_refused_event_ends() {
    let shop = Shop::answered(false, &[500; 20]).await;
    shop.customer().await;
    let deliveries = async || shop.get("_fake/deliveries").await.expect(200)["data"].as_array().unwrap().len();
    eventually("all attempts are made", async || deliveries().await == 8).await;
    shop.advance(0).await;
    assert_eq!(deliveries().await, 8);
}

#[tokio::test]
async fn switches_spoil_the_delivery() {
    let shop = Shop::open(false).await;
    shop.fake.set_switches(Switches { duplicates: true, disorder: true, ..Switches::default() });
    let (_, id) = shop.subscriber().await;
    let created = "customer.created";
    shop.receiver.expect(0, &[created, created, COMPLETED, COMPLETED, UPDATED, UPDATED, PAID, PAID, CREATED, CREATED]).await;

    // Switches that are not named stay.
    let set = shop.client.post("//_fake/switches", json!({"loss": true, "disorder": false})).await.expect(200);
    assert_eq!(set, json!({"duplicates": true, "disorder": false, "delay_ms": 0, "loss": true, "v2_events": false}));
    shop.client.post("//_fake/switches", json!({"los": true})).await.expect(400);
    shop.form(&format!("v1/subscriptions/{id}"), "cancel_at_period_end=true").await.expect(200);
    let last = shop.get("_fake/deliveries").await.expect(200)["data"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["type"], &last["status"]), (&json!(UPDATED), &json!(null)));

    shop.client.post("//_fake/switches", json!({"loss": false, "duplicates": false, "v2_events": true, "delay_ms": 1})).await.expect(200);
    shop.form(&format!("v1/subscriptions/{id}"), "cancel_at=").await.expect(200);
    shop.receiver.expect(10, &[UPDATED, "v1.billing.meter.error_report_triggered"]).await;
    let second = shop.receiver.events()[11].clone();
    assert_eq!((&second["object"], &second["data"]["object"]), (&json!("v2.core.event"), &json!(null)));
    assert!(second["created"].is_string());
}

#[tokio::test]
async fn passed_time_renews_or_ends_subscriptions() {
    for classic in [false, true] {
        let shop = Shop::open(classic).await;
        let (_, id) = shop.subscriber().await;
        shop.advance(10).await;
        assert_eq!(shop.receiver.types().len(), 5);
        shop.advance(25).await;
        shop.receiver.expect(5, &[PAID, UPDATED]).await;
        shop.form(&format!("v1/subscriptions/{id}"), "cancel_at_period_end=true").await.expect(200);
        shop.receiver.expect(7, &[UPDATED]).await;
        shop.advance(31).await;
        shop.receiver.expect(8, &[DELETED]).await;
        assert_eq!(shop.subscription(&id).await["status"], "canceled");
        shop.advance(365).await;
        assert_eq!(shop.receiver.types().len(), 9);
    }
}
