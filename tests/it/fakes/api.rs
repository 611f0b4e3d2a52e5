//! The API of the look-alike of Stripe.

use http::Method;
use serde_json::json;

use super::Shop;

#[tokio::test]
async fn wrong_key_and_missing_objects_have_stripes_envelope() {
    let shop = Shop::open(false).await;
    let mut stranger = shop.client.clone();
    for token in [None, Some("sk_test_other".to_owned())] {
        stranger.token = token;
        let refused = stranger.get("//v1/prices/price_fake_monthly").await;
        assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
        refused.expect(401);
    }
    let missing = shop.get("v1/customers/cus_none").await;
    assert!(missing.header("request-id").unwrap().starts_with("req_") && missing.header("date").is_some());
    let error = missing.expect(404)["error"].clone();
    assert_eq!((error["code"].as_str(), error["param"].as_str()), (Some("resource_missing"), Some("id")));
    let error = shop.form("v1/billing_portal/sessions", "customer=cus_none").await.expect(400)["error"].clone();
    assert_eq!((error["code"].as_str(), error["param"].as_str()), (Some("resource_missing"), Some("customer")));
    let error = shop.form("v1/billing_portal/sessions", "").await.expect(400)["error"].clone();
    assert_eq!((error["code"].as_str(), error["param"].as_str()), (Some("parameter_missing"), Some("customer")));
    shop.get("v1/nothing").await.expect(404);
}

#[tokio::test]
async fn idempotency_key_replays_and_refuses_other_forms() {
    let shop = Shop::open(false).await;
    let create = async |key: &str, form: &str| {
        let call = shop.client.call(Method::POST, "//v1/customers").key(key);
        call.body("application/x-www-form-urlencoded", form.to_owned()).await
    };
    let first = create("one", "email=ada@example.com").await.expect(200);
    let again = create("one", "email=ada@example.com").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(200), first);
    assert_ne!(create("two", "email=ada@example.com").await.expect(200)["id"], first["id"]);
    let other = create("one", "email=bob@example.com").await.expect(400);
    assert_eq!(other["error"]["type"], "idempotency_error");
    // The answer is given again even if the object is gone.
    let id = first["id"].as_str().unwrap();
    assert_eq!(shop.client.delete(&format!("//v1/customers/{id}")).await.expect(200)["deleted"], true);
    assert_eq!(create("one", "email=ada@example.com").await.expect(200), first);
    assert_eq!(shop.get(&format!("v1/customers/{id}")).await.expect(200)["deleted"], true);
    shop.form(&format!("v1/customers/{id}"), "name=Ada").await.expect(404);
}

#[tokio::test]
async fn checkouts_are_listed_with_lines_and_expire() {
    let shop = Shop::open(false).await;
    let customer = shop.customer().await;
    let checkout = shop.checkout(&customer).await;
    assert_eq!((checkout["status"].as_str(), &checkout["line_items"]), (Some("open"), &json!(null)));
    let list = format!("v1/checkout/sessions?customer={customer}&status=open&limit=1&expand[]=data.line_items");
    let found = shop.get(&list).await.expect(200);
    assert_eq!(found["data"][0]["line_items"]["data"][0]["price"]["id"], "price_fake_monthly");
    shop.get("v1/checkout/sessions?limit=0").await.expect(400);
    let id = checkout["id"].as_str().unwrap();
    assert_eq!(shop.form(&format!("v1/checkout/sessions/{id}/expire"), "").await.expect(200)["status"], "expired");
    shop.form(&format!("v1/checkout/sessions/{id}/expire"), "").await.expect(400);
    assert_eq!(shop.get(&list).await.expect(200)["data"], json!([]));
    assert_eq!(shop.form(&format!("c/pay/{id}"), "action=pay").await.status, 400);
}

#[tokio::test]
async fn flexible_cancellation_sets_and_clears_a_time() {
    let shop = Shop::open(false).await;
    let (customer, id) = shop.subscriber().await;
    let path = format!("v1/subscriptions/{id}");
    let set = shop.form(&path, "cancel_at_period_end=true").await.expect(200);
    let end = &set["items"]["data"][0]["current_period_end"];
    assert!(end.is_i64() && set["current_period_end"].is_null(), "{set}");
    assert_eq!((&set["cancel_at"], &set["cancel_at_period_end"]), (end, &json!(false)));
    let kept = shop.form(&path, "cancel_at_period_end=false").await.expect(200);
    assert_eq!(&kept["cancel_at"], end, "the flag was not set, so there is nothing to clear");
    let cleared = shop.form(&path, "cancel_at=").await.expect(200);
    assert_eq!((&cleared["cancel_at"], &cleared["canceled_at"]), (&json!(null), &json!(null)));
    shop.form(&path, "cancel_at=&cancel_at_period_end=false").await.expect(400);
    assert_eq!(shop.client.delete(&format!("//{path}")).await.expect(200)["status"], "canceled");
    shop.client.delete(&format!("//{path}")).await.expect(404);
    shop.form(&path, "cancel_at_period_end=true").await.expect(400);
    for (filter, number) in [("", 0), ("&status=all&limit=10", 1), ("&status=active", 0), ("&status=canceled", 1)] {
        let found = shop.get(&format!("v1/subscriptions?customer={customer}{filter}")).await.expect(200);
        assert_eq!(found["data"].as_array().unwrap().len(), number, "{filter}");
    }
}

#[tokio::test]
async fn classic_cancellation_sets_and_clears_the_flag() {
    let shop = Shop::open(true).await;
    let (_, id) = shop.subscriber().await;
    let path = format!("v1/subscriptions/{id}");
    let set = shop.form(&path, "cancel_at_period_end=true").await.expect(200);
    assert!(set["current_period_end"].is_i64() && set["items"]["data"][0]["current_period_end"].is_null(), "{set}");
    assert_eq!((&set["cancel_at_period_end"], &set["cancel_at"]), (&json!(true), &set["current_period_end"]));
    let cleared = shop.form(&path, "cancel_at_period_end=false").await.expect(200);
    assert_eq!((&cleared["cancel_at_period_end"], &cleared["cancel_at"]), (&json!(false), &json!(null)));
}

#[tokio::test]
async fn prices_endpoints_and_events_are_served() {
    let shop = Shop::open(false).await;
    let (customer, _) = shop.subscriber().await;
    assert_eq!(shop.get("v1/prices/price_fake_yearly").await.expect(200)["recurring"]["interval"], "year");
    shop.get("v1/prices/price_none").await.expect(404);
    let endpoints = shop.get("v1/webhook_endpoints?limit=100").await.expect(200);
    assert_eq!(endpoints["data"][0]["url"], shop.receiver.url);
    let invoices = shop.get(&format!("v1/invoices?customer={customer}")).await.expect(200);
    assert_eq!((&invoices["data"][0]["status"], &invoices["data"][0]["amount_paid"]), (&json!("paid"), &json!(1900)));
    let events = shop.get("v1/events?limit=2").await.expect(200);
    assert_eq!((&events["data"][0]["type"], &events["has_more"]), (&json!("checkout.session.completed"), &json!(true)));
    let newest = events["data"][0]["id"].as_str().unwrap();
    assert_eq!(shop.get(&format!("v1/events/{newest}")).await.expect(200)["id"], newest);
    let older = shop.get(&format!("v1/events?starting_after={newest}")).await.expect(200);
    assert_eq!(older["data"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn meters_add_usage_up_once_for_each_identifier() {
    let shop = Shop::open(false).await;
    let customer = shop.customer().await;
    let meters = shop.get("v1/billing/meters?limit=100").await.expect(200);
    let meter = &meters["data"][0];
    assert_eq!((&meter["event_name"], &meter["default_aggregation"]["formula"]), (&json!("fake_api_requests"), &json!("sum")));
    let report = async |identifier: &str, at: i64| {
        let form = format!(
            "event_name=fake_api_requests&payload[stripe_customer_id]={customer}&payload[value]=5&identifier={identifier}&timestamp={at}"
        );
        shop.form("v1/billing/meter_events", &form).await
    };
    let made = report("m1", 86_400).await.expect(200);
    assert_eq!((&made["identifier"], &made["payload"]["value"], &made["timestamp"]), (&json!("m1"), &json!("5"), &json!(86_400)));
    let again = report("m1", 86_400).await.expect(400);
    assert_eq!(
        (&again["error"]["code"], &again["error"]["message"]),
        (&json!(null), &json!("An event already exists with identifier m1."))
    );
    report("m2", 172_799).await.expect(200);
    report("m3", 172_800).await.expect(200);
    let summary = format!("v1/billing/meters/{}/event_summaries", meter["id"].as_str().unwrap());
    let found = shop.get(&format!("{summary}?customer={customer}&start_time=86400&end_time=172800")).await.expect(200);
    assert_eq!(found["data"][0]["aggregated_value"], 10);
    shop.get(&format!("{summary}?customer={customer}&start_time=86401&end_time=172800")).await.expect(400);
    shop.get("v1/billing/meters/mtr_none/event_summaries?customer=c&start_time=0&end_time=60").await.expect(404);
}
