//! Apple is asked where notices do not decide or were lost, and what it answers is verified.

use serde_json::{Value, json};

use super::api::Api;
use super::authority::{APPLE, ROGUE};
use super::{BUNDLE, DAY, ENTERPRISE, Period, Shop, notice, pair, period, state};
use crate::harness::Backend;
use crate::harness::process::Place;

crate::on_both_backends![nightly_comparison_mends_lost_notices];
crate::on_sqlite![
    notices_of_the_same_time_are_decided_by_asking,
    answer_that_is_not_apples_changes_nothing,
    link_is_compared_with_what_apple_holds,
    sweep_asks_apple_before_it_ends_a_subscription,
];

async fn asking(b: Backend) -> (Shop, Api) {
    let api = Api::start().await;
    (Shop::with(b, &api.vars()).await, api)
}

async fn reconcile(shop: &Shop) -> Value {
    shop.t.run_function("reconcile_subscriptions", json!({})).await.unwrap().1.unwrap()
}

async fn nightly_comparison_mends_lost_notices(b: Backend) {
    let (shop, api) = asking(b).await;
    let (user, first) = shop.buyer("ada").await;
    let second = Period { product: ENTERPRISE, ..first.next("2") };
    let renewal = |grace: i64| APPLE.sign(&json!({"originalTransactionId": "ada-o", "gracePeriodExpiresDate": shop.millis(grace)}));
    for (number, period, grace, want) in [
        (1, &second, None, ("enterprise", "active")),
        (3, &second, None, ("enterprise", "past_due")),
        (4, &second, Some(99 * DAY), ("enterprise", "active")),
        (2, &second, None, ("free", "canceled")),
    ] {
        api.holds("ada-o", number, APPLE.sign(&shop.transaction(period, 0)), grace.map(renewal));
        let found = reconcile(&shop).await;
        assert_eq!((&found["compared"], &found["corrected"]), (&json!(1), &json!(1)), "{number}: {found}");
        assert_eq!(state(&user).await, pair(want.0, want.1), "{number}");
        // A notice that was signed before.
        shop.tell(&notice("DID_RENEW", None, -1, &second)).await;
        assert_eq!(state(&user).await, pair(want.0, want.1), "{number}");
    }
    let (bob, first) = shop.buyer("bob").await;
    api.holds("bob-o", 5, APPLE.sign(&shop.transaction(&first, 0)), None);
    reconcile(&shop).await;
    assert_eq!(state(&bob).await, pair("free", "canceled"));
    // What Apple does not know, or cannot say now, stays.
    let (eve, _) = shop.buyer("eve").await;
    assert_eq!(reconcile(&shop).await["corrected"], 0);
    api.fails(Some(401));
    assert_eq!(reconcile(&shop).await["failed"], 1);
    assert_eq!(state(&eve).await, pair("pro", "active"));
    let asked = api.asked();
    assert!(asked.iter().all(|(_, headers)| headers["authorization"].to_str().unwrap().starts_with("Bearer ey")), "{asked:?}");
}

async fn notices_of_the_same_time_are_decided_by_asking(b: Backend) {
    let (shop, api) = asking(b).await;
    let (user, first) = shop.buyer("ada").await;
    let asked = api.asked().len();
    api.holds("ada-o", 3, APPLE.sign(&shop.transaction(&first, 0)), None);
    shop.tell(&notice("EXPIRED", None, -1000, &first)).await;
    assert_eq!(state(&user).await, pair("pro", "past_due"), "Apple says so");
    assert_eq!(api.asked().len(), asked + 1);
    // If Apple does not answer, the notice is kept and tried again.
    let (user, first) = shop.buyer("bob").await;
    api.fails(Some(503));
    let expired = APPLE.sign(&shop.payload(&notice("EXPIRED", None, -1000, &first)));
    shop.deliver(&expired).await.expect_error(500, "INTERNAL_ERROR");
    assert_eq!(state(&user).await, pair("pro", "active"));
    // And if Apple does not know the subscription, the types decide.
    api.fails(None);
    assert_eq!(shop.deliver(&expired).await.expect(200)["status"], "processed");
    assert_eq!(state(&user).await, pair("free", "canceled"));
}

async fn answer_that_is_not_apples_changes_nothing(b: Backend) {
    let (shop, api) = asking(b).await;
    let (user, first) = shop.buyer("ada").await;
    let transaction = shop.transaction(&first, 0);
    let with = |name: &str, value: &str| {
        let mut other = transaction.clone();
        other[name] = value.into();
        APPLE.sign(&other)
    };
    for wrong in [ROGUE.sign(&transaction), "x".to_owned(), with("bundleId", "com.example.other"), with("originalTransactionId", "another")] {
        api.holds("ada-o", 2, wrong, None);
        assert_eq!(reconcile(&shop).await["failed"], 1);
    }
    api.holds("ada-o", 2, APPLE.sign(&transaction), Some(ROGUE.sign(&json!({}))));
    assert_eq!(reconcile(&shop).await["failed"], 1);
    api.holds("ada-o", 9, APPLE.sign(&transaction), None);
    assert_eq!(reconcile(&shop).await["corrected"], 0);
    assert_eq!(state(&user).await, pair("pro", "active"));
}

async fn link_is_compared_with_what_apple_holds(b: Backend) {
    let (shop, api) = asking(b).await;
    let user = shop.t.user("ada").await;
    let bought = period("o", None);
    // Signed before a refund whose notice found no user.
    let body = json!({"signed_transaction": APPLE.sign(&shop.transaction(&bought, -900))});
    let mut refunded = shop.transaction(&bought, 0);
    refunded["revocationDate"] = shop.millis(-10).into();
    api.holds("o", 5, APPLE.sign(&refunded), None);
    let status = user.post("/app/billing/iap/apple", body).await.expect(200);
    assert_eq!((&status["plan"], &status["status"]), (&json!("free"), &json!("canceled")));
    // Apple being away does not refuse a purchase.
    api.fails(Some(500));
    let body = json!({"signed_transaction": APPLE.sign(&shop.transaction(&period("p", None), 0))});
    assert_eq!(user.post("/app/billing/iap/apple", body).await.expect(200)["status"], "active");
}

async fn sweep_asks_apple_before_it_ends_a_subscription(b: Backend) {
    let (shop, api) = asking(b).await;
    let (user, first) = shop.buyer("ada").await;
    let second = first.next("2");
    api.holds("ada-o", 1, APPLE.sign(&shop.transaction(&second, 0)), None);
    shop.t.clock.advance(chrono::TimeDelta::days(33));
    shop.t.run_function("sweep_subscriptions", json!({})).await.unwrap().1.unwrap();
    let status = shop.t.texts("SELECT status FROM subscriptions").await;
    let newest = shop.t.texts("SELECT last_transaction_id FROM subscriptions").await;
    assert_eq!((status, newest), (vec!["active".to_owned()], vec![second.id]));
    drop(user);
}

#[tokio::test]
async fn doctor_tells_whether_apple_accepts_the_key() {
    let api = Api::start().await;
    let lines = async |fails: Option<u16>, vars: &[(&str, &str)]| {
        api.fails(fails);
        let place = Place::new().with("APPLE_BUNDLE_ID", BUNDLE);
        let outcome = vars.iter().fold(place, |place, (name, value)| place.with(name, value)).run(&["doctor"]).await;
        assert!(!outcome.out.contains("canary") && !outcome.out.contains("BEGIN PRIVATE"), "{}", outcome.out);
        let level = |level: &str| outcome.out.lines().filter(|line| line.starts_with(level) && line.contains("app store")).count();
        (level("ok"), level("warn"))
    };
    let number = [("APPLE_APP_APPLE_ID", "1234567890")];
    let all: Vec<_> = api.vars().into_iter().chain(number).collect();
    assert_eq!(lines(None, &all).await, (2, 0));
    assert_eq!(lines(Some(401), &all).await, (1, 1));
    assert_eq!(lines(None, &api.vars()).await, (2, 1));
    assert_eq!(lines(None, &number).await, (1, 1));
}
