//! Stripe as a source of current states: lost events are found by comparing, and nothing ends because Stripe fails.

use omnistack::features::subscriptions::service as subscriptions;
use omnistack::platform::id::UserId;

use super::stub::{Stub, missing};
use super::{become_customer, selling, state, stored, subscription, tell};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    sync_finds_lost_events,
    subscription_that_stripe_does_not_know_runs_to_its_end,
    sync_while_stripe_fails_changes_nothing,
    sync_without_customer_asks_nothing,
];

async fn sync(t: &TestApp) -> Result<usize, String> {
    let found = subscriptions::sync(&t.app, &UserId::parse("ada").unwrap()).await;
    found.map(|found| found.len()).map_err(|error| error.to_string())
}

async fn sync_finds_lost_events(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    become_customer(&t, "ada", "cus_ada").await;
    stub.with(|account| account.subscriptions = vec![subscription("ada", "active")]);
    assert_eq!(sync(&t).await, Ok(1));
    assert_eq!(stored(&ada).await, state("pro", "active"));
    let list = stub.only("GET /v1/subscriptions");
    assert_eq!((list.query["customer"].as_str(), list.query["limit"].as_str(), list.query["status"].as_str()), ("cus_ada", "10", "all"));
    assert_eq!(sync(&t).await, Ok(0));
    stub.with(|account| account.subscriptions = vec![subscription("ada", "unpaid")]);
    t.clock.advance(chrono::TimeDelta::seconds(1));
    assert_eq!(sync(&t).await, Ok(1));
    assert_eq!(stored(&ada).await, state("free", "canceled"));
}

/// The key may be that of another account, which must not make all payers free.
async fn subscription_that_stripe_does_not_know_runs_to_its_end(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    let mut short = subscription("ada", "active");
    short["current_period_end"] = (t.clock.now().timestamp() + 60).into();
    tell(&t, &[("customer.subscription.created", &short, 60)]).await;
    assert_eq!(sync(&t).await, Ok(0));
    assert_eq!(stored(&ada).await, state("pro", "active"));
    t.clock.advance(chrono::TimeDelta::days(2));
    t.run_function("sweep_subscriptions", serde_json::json!({})).await.unwrap().1.unwrap();
    assert_eq!(t.texts("SELECT subscription_plan FROM users WHERE id = 'ada'").await, ["free"]);
}

async fn sync_while_stripe_fails_changes_nothing(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    tell(&t, &[("customer.subscription.created", &subscription("ada", "active"), 60)]).await;
    stub.overrule(|_| Some((401, serde_json::json!({"error": {}}))));
    assert!(sync(&t).await.is_err());
    // The customer is gone, and so is what it bought.
    stub.overrule(|asked| (asked.path == "/v1/subscriptions").then(|| missing("customer")));
    stub.with(|account| account.subscriptions = vec![subscription("ada", "active")]);
    sync(&t).await.unwrap();
    assert_eq!(stored(&ada).await, state("pro", "active"));
}

async fn sync_without_customer_asks_nothing(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    t.user("ada").await;
    assert_eq!((sync(&t).await, stub.asked().len()), (Ok(0), 0));
}
