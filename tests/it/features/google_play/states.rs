//! What a notification changes: by the state of the purchase where it can be read, by its type otherwise.

use chrono::TimeDelta;
use serde_json::json;

use super::google::{PACKAGE, Sold};
use super::{Shop, pair, state};
use crate::harness::Backend;

crate::on_both_backends![
    state_of_the_purchase_decides,
    type_decides_while_google_fails,
    job_reads_until_google_answers,
    purchase_that_is_not_found_yet_is_tried_again,
    end_of_time_is_read_from_google,
    voided_purchase_is_read_again,
];
crate::on_sqlite![
    plan_is_that_of_the_lines_that_run,
    cancelled_purchase_is_set_to_end,
    future_event_does_not_outlast_later_ones,
    product_of_a_notification_may_be_missing,
    sync_reads_the_purchase,
];

async fn state_of_the_purchase_decides(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    let mut expected = pair("pro", "active");
    let (past, ahead) = (shop.at(-60), shop.at(60));
    let sold = |state: &str, end| (200, Sold::new(state, "pro", end).0);
    // Each answer, and the state after it; `None` leaves the state as it is. The type says otherwise each time.
    let rows = [
        (sold("ACTIVE", ahead), Some(("pro", "active"))),
        (sold("ON_HOLD", past), Some(("pro", "past_due"))),
        (sold("IN_GRACE_PERIOD", ahead), Some(("pro", "active"))),
        (sold("PAUSED", past), Some(("pro", "incomplete"))),
        (sold("CANCELED", ahead), Some(("pro", "active"))),
        (sold("CANCELED", past), Some(("free", "canceled"))),
        (sold("ACTIVE", past), Some(("pro", "active"))),
        (sold("NEVER_HEARD_OF", past), None),
        (sold("PENDING_PURCHASE_CANCELED", past), None),
        (sold("EXPIRED", ahead), Some(("free", "canceled"))),
        (sold("PENDING", ahead), Some(("free", "incomplete"))),
        (sold("ACTIVE", ahead), Some(("pro", "active"))),
        ((410, json!({"error": {"code": 410}})), Some(("free", "canceled"))),
        ((200, sold("ACTIVE", ahead).1), Some(("pro", "active"))),
    ];
    for (n, ((status, answer), after)) in rows.into_iter().enumerate() {
        shop.google.put("token", status, answer.clone());
        shop.t.clock.advance(TimeDelta::milliseconds(1));
        let kind = if after == Some(("free", "canceled")) { 2 } else { 13 };
        shop.tell(kind, "token", "pro", 0).await;
        expected = after.map_or(expected, |(plan, status)| pair(plan, status));
        assert_eq!(state(&amy).await, expected, "row {n}: {answer}");
    }
    assert_eq!(shop.waiting("read_google_purchase").await, 0);
}

async fn type_decides_while_google_fails(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    let mut expected = pair("-", "-");
    let rows = [
        (9, None),
        (99, None),
        (4, Some(("enterprise", "active"))),
        (5, Some(("enterprise", "past_due"))),
        (1, Some(("enterprise", "active"))),
        (10, Some(("enterprise", "incomplete"))),
        (2, Some(("enterprise", "active"))),
        (6, Some(("enterprise", "active"))),
        (3, Some(("enterprise", "active"))),
        (7, Some(("enterprise", "active"))),
        (11, None),
        (20, None),
        (12, Some(("free", "canceled"))),
        (8, Some(("enterprise", "active"))),
        (13, Some(("free", "canceled"))),
    ];
    for (n, (kind, after)) in rows.into_iter().enumerate() {
        // Google knows nothing of the token: that is no state.
        shop.tell(kind, "token", "enterprise_yearly", i64::try_from(n).unwrap() - 100).await;
        expected = after.map_or(expected, |(plan, status)| pair(plan, status));
        assert_eq!(state(&amy).await, expected, "type {kind}");
    }
    assert_eq!(shop.waiting("read_google_purchase").await, 15);
}

async fn job_reads_until_google_answers(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    shop.google.sell("token", shop.sold("ACTIVE", "enterprise").unacknowledged());
    shop.google.fail(Some(500));
    shop.tell(13, "token", "pro", 0).await;
    assert_eq!(state(&amy).await, pair("free", "canceled"), "the type counts for now");
    shop.jobs_after(0).await;
    assert_eq!((state(&amy).await, shop.waiting("read_google_purchase").await), (pair("free", "canceled"), 1));
    shop.google.fail(None);
    for _ in 0..3 {
        shop.jobs_after(3).await;
    }
    assert_eq!((state(&amy).await, shop.waiting("read_google_purchase").await), (pair("enterprise", "active"), 0));
    assert_eq!(shop.google.acknowledged(), ["subscriptions/enterprise/tokens/token"]);
}

async fn purchase_that_is_not_found_yet_is_tried_again(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.tell(4, "fresh", "pro", 0).await;
    assert_eq!(state(&amy).await, pair("-", "-"), "nothing says whose it is");
    shop.google.sell("fresh", shop.sold("ACTIVE", "pro").of("amy").unacknowledged());
    shop.jobs_after(2).await;
    assert_eq!((state(&amy).await, shop.google.acknowledged().len()), (pair("pro", "active"), 1));
    // Another one is never found: the job gives up.
    shop.tell(4, "never", "pro", 0).await;
    for _ in 0..12 {
        shop.jobs_after(61).await;
    }
    assert_eq!(shop.waiting("read_google_purchase").await, 0);
}

async fn end_of_time_is_read_from_google(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", Sold::new("ACTIVE", "pro", shop.at(60)));
    super::link(&amy, "token", "pro").await.expect(200);
    // Google grants silent grace: no event, and the state is still active.
    shop.t.clock.advance(TimeDelta::hours(2));
    shop.t.run_function("sweep_subscriptions", json!({})).await.unwrap().1.unwrap();
    assert_eq!(state(&amy).await, pair("pro", "active"));
    shop.google.sell("token", Sold::new("EXPIRED", "pro", shop.at(-60)));
    shop.t.run_function("sweep_subscriptions", json!({})).await.unwrap().1.unwrap();
    assert_eq!(state(&amy).await, pair("free", "canceled"));
}

async fn voided_purchase_is_read_again(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro"));
    super::link(&amy, "token", "pro").await.expect(200);
    let voided = json!({
        "packageName": PACKAGE, "eventTimeMillis": shop.at(1).timestamp_millis(),
        "voidedPurchaseNotification": {"purchaseToken": "token", "orderId": "GPA.1..0", "productType": 1, "refundType": 1}
    });
    assert_eq!(shop.push("1", &voided).await.expect(200), json!({"status": "processed"}));
    assert_eq!(state(&amy).await, pair("pro", "active"), "an older period was refunded: the purchase is still active");
    shop.google.put("token", 404, json!({}));
    assert_eq!(shop.push("2", &voided).await.expect(200), json!({"status": "processed"}));
    assert_eq!(state(&amy).await, pair("pro", "active"), "a read that fails is no state");
    shop.google.sell("token", Sold::new("EXPIRED", "pro", shop.at(0)));
    shop.jobs_after(2).await;
    assert_eq!(state(&amy).await, pair("free", "canceled"));
    assert_eq!(shop.t.number("SELECT COUNT(*) FROM webhook_events WHERE event_type = 'VOIDED_PURCHASE'").await, 2);
}

async fn plan_is_that_of_the_lines_that_run(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    let line = |product: &str, days: i64| json!({"productId": product, "expiryTime": shop.at(days * 86_400).to_rfc3339()});
    for (lines, plan) in [
        (json!([line("pro", 30), line("enterprise", 3)]), "enterprise"),
        (json!([line("pro", 30), line("enterprise", -3)]), "pro"),
        (json!([line("enterprise", -3), line("pro", -5)]), "enterprise"),
        (json!([]), "pro"),
        (json!(null), "pro"),
        (json!([{"productId": "enterprise"}]), "enterprise"),
    ] {
        shop.google.sell("token", shop.sold("ACTIVE", "pro").with("lineItems", lines.clone()));
        shop.tell(2, "token", "pro", 0).await;
        assert_eq!(state(&amy).await, pair(plan, "active"), "{lines}");
    }
}

async fn cancelled_purchase_is_set_to_end(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    for (answer, ends) in [("ACTIVE", false), ("CANCELED", true), ("ACTIVE", false)] {
        shop.google.sell("token", shop.sold(answer, "pro"));
        shop.tell(3, "token", "pro", 0).await;
        let status = amy.get("/app/billing/status").await.expect(200);
        assert_eq!((&status["cancel_at_period_end"], &status["has_active_subscription"]), (&json!(ends), &json!(true)), "{answer}");
    }
    // By its type, with the end that was read before.
    shop.google.put("token", 404, json!({}));
    shop.tell(3, "token", "pro", 10).await;
    assert_eq!(amy.get("/app/billing/status").await.expect(200)["cancel_at_period_end"], true);
    shop.tell(7, "token", "pro", 20).await;
    assert_eq!(amy.get("/app/billing/status").await.expect(200)["cancel_at_period_end"], false);
}

async fn future_event_does_not_outlast_later_ones(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    // The clocks differ: the event is from five minutes ahead, and reading says otherwise now.
    shop.tell(13, "token", "pro", 300).await;
    assert_eq!(state(&amy).await, pair("free", "canceled"));
    shop.google.sell("token", shop.sold("ACTIVE", "pro"));
    shop.jobs_after(0).await;
    assert_eq!(state(&amy).await, pair("pro", "active"));
    // An event from another century counts as one from now.
    shop.google.put("token", 404, json!({}));
    shop.t.clock.advance(TimeDelta::hours(1));
    shop.tell(13, "token", "pro", 1_000_000_000).await;
    assert_eq!(state(&amy).await, pair("free", "canceled"));
    shop.t.clock.advance(TimeDelta::minutes(1));
    shop.tell(1, "token", "pro", 0).await;
    assert_eq!(state(&amy).await, pair("pro", "active"));
}

async fn product_of_a_notification_may_be_missing(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    let mut data = shop.note(4, "token", "", 0);
    data["subscriptionNotification"].as_object_mut().unwrap().remove("subscriptionId");
    data.as_object_mut().unwrap().remove("eventTimeMillis");
    assert_eq!(shop.push("1", &data).await.expect(200), json!({"status": "processed"}));
    assert_eq!(state(&amy).await, pair("pro", "active"));
}

async fn sync_reads_the_purchase(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro"));
    super::link(&amy, "token", "pro").await.expect(200);
    shop.google.sell("token", shop.sold("ON_HOLD", "pro"));
    shop.t.run_function("reconcile_subscriptions", json!({})).await.unwrap().1.unwrap();
    assert_eq!(state(&amy).await, pair("pro", "past_due"));
    shop.google.put("token", 404, json!({}));
    shop.t.run_function("reconcile_subscriptions", json!({})).await.unwrap().1.unwrap();
    assert_eq!(state(&amy).await, pair("pro", "past_due"), "Google says nothing about it");
    shop.google.put("token", 410, json!({}));
    shop.t.run_function("reconcile_subscriptions", json!({})).await.unwrap().1.unwrap();
    assert_eq!(state(&amy).await, pair("free", "canceled"));
}
