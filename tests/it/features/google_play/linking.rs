//! Whose purchase it is: linking by the app, replaced purchases, account ids, acknowledgement.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use super::google::Sold;
use super::{Shop, link, pair, state};
use crate::harness::Backend;

crate::on_both_backends![
    linked_purchase_gives_its_plan,
    purchase_of_another_user_is_409,
    twenty_links_of_two_users_have_one_winner,
    replaced_purchase_changes_nothing_more,
    replacing_purchase_finds_the_user_of_the_old_one,
    account_id_finds_the_user,
    purchase_is_acknowledged_once,
];
crate::on_sqlite![
    purchase_that_cannot_be_verified_is_400,
    failing_google_is_502,
    pending_replacement_leaves_the_old_purchase,
    purchase_of_nobody_is_processed,
    acknowledgement_is_tried_until_google_takes_it,
    erased_user_leaves_no_token,
];

async fn linked_purchase_gives_its_plan(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", shop.sold("ACTIVE", "enterprise_monthly"));
    for _ in 0..2 {
        let status = link(&amy, "token", "enterprise_monthly").await.expect(200);
        assert_eq!(
            (&status["plan"], &status["status"], &status["has_active_subscription"], &status["cancel_at_period_end"]),
            (&json!("enterprise"), &json!("active"), &json!(true), &json!(false)),
            "{status}"
        );
        assert!(status["current_period_end"].is_string(), "{status}");
    }
    assert_eq!(state(&amy).await, pair("enterprise", "active"));
    // From now on notifications find the user.
    shop.google.sell("token", Sold::new("EXPIRED", "enterprise_monthly", shop.at(0)));
    shop.tell(13, "token", "enterprise_monthly", 1).await;
    assert_eq!(state(&amy).await, pair("free", "canceled"));
    link(&amy, "token", "enterprise_monthly").await.expect_error(400, "BAD_REQUEST");
}

async fn purchase_that_cannot_be_verified_is_400(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    let (past, ahead) = (shop.at(-1), shop.at(60));
    shop.google.sell("other", Sold::new("ACTIVE", "other_product", ahead));
    shop.google.sell("expired", Sold::new("EXPIRED", "pro", ahead));
    shop.google.sell("ended", Sold::new("CANCELED", "pro", past));
    shop.google.sell("never-paid", Sold::new("PENDING_PURCHASE_CANCELED", "pro", ahead));
    shop.google.put("gone", 410, json!({}));
    shop.google.put("odd", 400, json!({}));
    for token in ["unknown", "other", "expired", "ended", "never-paid", "gone", "odd", "..", "a\tb", &"ü".repeat(1000)] {
        let reply = link(&amy, token, "pro").await;
        assert_eq!(reply.status.as_u16(), 400, "{token}: {}", reply.text());
        reply.expect_error(400, "BAD_REQUEST");
    }
    for body in
        [json!({}), json!({"purchase_token": "", "subscription_id": "pro"}), json!({"purchase_token": ["x"], "subscription_id": "pro"})]
    {
        amy.post("/app/billing/iap/google", body).await.expect_error(422, "VALIDATION_ERROR");
    }
    shop.t.anonymous().post("/app/billing/iap/google", json!({})).await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!((state(&amy).await, shop.t.number("SELECT COUNT(*) FROM subscriptions").await), (pair("-", "-"), 0));
    // Cancelled, and paid for: it runs until its end.
    shop.google.sell("running", Sold::new("CANCELED", "pro", ahead));
    assert_eq!(link(&amy, "running", "pro").await.expect(200)["cancel_at_period_end"], true);
}

async fn failing_google_is_502(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro"));
    let upstream = async || {
        let reply = link(&amy, "token", "pro").await;
        assert_eq!(reply.status.as_u16(), 502, "{}", reply.text());
        let text = reply.text();
        assert!(!text.contains("canary"), "{text}");
        assert_eq!(reply.expect_error(502, "EXTERNAL_SERVICE_ERROR"), json!({"service": "google_play"}));
    };
    shop.google.fail_tokens(Some((400, json!({"error": "invalid_grant", "error_description": "canary"}))));
    upstream().await;
    let vendors = shop.t.anonymous().get("/public/health/ready").await.json();
    assert_eq!(vendors["vendors"]["google_play"]["account"], "key_refused", "{vendors}");
    shop.google.fail_tokens(None);
    for status in [403, 503] {
        shop.google.fail(Some(status));
        upstream().await;
    }
    shop.google.fail(None);
    shop.google.put("token", 200, json!({"kind": "something else"}));
    upstream().await;
    shop.google.put("token", 200, json!([]));
    upstream().await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro"));
    link(&amy, "token", "pro").await.expect(200);
}

async fn purchase_of_another_user_is_409(b: Backend) {
    let shop = Shop::open(b).await;
    let (amy, bob) = (shop.user("amy").await, shop.user("bob").await);
    shop.google.sell("token", shop.sold("ACTIVE", "pro"));
    link(&amy, "token", "pro").await.expect(200);
    link(&bob, "token", "pro").await.expect_error(409, "CONFLICT");
    // A purchase that replaces one of Amy's.
    shop.google.sell("next", shop.sold("ACTIVE", "pro").linked("token").of("bob"));
    link(&bob, "next", "pro").await.expect_error(409, "CONFLICT");
    // A purchase that was made in Amy's account of the app.
    shop.google.sell("named", shop.sold("ACTIVE", "pro").of("amy"));
    link(&bob, "named", "pro").await.expect_error(409, "CONFLICT");
    // An id that is no user's does not matter.
    shop.google.sell("unnamed", shop.sold("ACTIVE", "enterprise").of("hash-of-something"));
    link(&bob, "unnamed", "enterprise").await.expect(200);
    // A token that an earlier version has kept without a subscription.
    shop.buyer("cleo", "kept").await;
    shop.google.sell("kept", shop.sold("ACTIVE", "pro"));
    link(&bob, "kept", "pro").await.expect_error(409, "CONFLICT");
    assert_eq!((state(&amy).await, state(&bob).await), (pair("pro", "active"), pair("enterprise", "active")));
}

async fn twenty_links_of_two_users_have_one_winner(b: Backend) {
    let shop = Shop::open(b).await;
    let (amy, bob) = (shop.user("amy").await, shop.user("bob").await);
    for round in 0..20 {
        let token = format!("token-{round}");
        shop.google.sell(&token, shop.sold("ACTIVE", "pro").unacknowledged());
        let replies = join_all((0..20).map(|n| {
            let (user, token) = (if n % 2 == 0 { &amy } else { &bob }, &token);
            async move { link(user, token, "pro").await.status.as_u16() }
        }))
        .await;
        let of = |user: usize| replies.iter().skip(user).step_by(2).copied().collect::<Vec<_>>();
        let (of_amy, of_bob) = (of(0), of(1));
        let all = |of: &[u16], status: u16| of.iter().all(|given| *given == status);
        assert!(all(&of_amy, 200) && all(&of_bob, 409) || all(&of_amy, 409) && all(&of_bob, 200), "{replies:?}");
        assert_eq!(shop.t.number(&format!("SELECT COUNT(*) FROM subscriptions WHERE external_id = '{token}'")).await, 1);
    }
    shop.t.run_jobs().await;
    let mut acknowledged = shop.google.acknowledged();
    acknowledged.sort();
    let mut expected: Vec<_> = (0..20).map(|n| format!("subscriptions/pro/tokens/token-{n}")).collect();
    expected.sort();
    assert_eq!(acknowledged, expected);
}

async fn replaced_purchase_changes_nothing_more(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("old", shop.sold("ACTIVE", "pro"));
    link(&amy, "old", "pro").await.expect(200);
    shop.google.sell("new", shop.sold("ACTIVE", "enterprise").linked("old"));
    let status = link(&amy, "new", "enterprise").await.expect(200);
    assert_eq!((&status["plan"], &status["also_running"]), (&json!("enterprise"), &json!(null)), "{status}");
    // Both by reading and by type, late and with a later time.
    shop.google.sell("old", Sold::new("EXPIRED", "pro", shop.at(0)));
    shop.tell(13, "old", "pro", 5).await;
    shop.google.put("old", 404, json!({}));
    for kind in [12, 4, 5] {
        shop.tell(kind, "old", "pro", 10).await;
    }
    assert_eq!(state(&amy).await, pair("enterprise", "active"));
    let kept = shop.t.texts("SELECT google_purchase_token FROM users WHERE id = 'amy'").await;
    assert_eq!(kept, ["new"]);
}

async fn replacing_purchase_finds_the_user_of_the_old_one(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "first").await;
    let bob = shop.user("bob").await;
    for (n, (old, new)) in [("first", "second"), ("second", "third")].into_iter().enumerate() {
        // The linked purchase decides, and not the account id.
        shop.google.sell(new, shop.sold("ACTIVE", "enterprise").linked(old).of("bob"));
        shop.tell(4, new, "enterprise", i64::try_from(n).unwrap()).await;
        shop.google.sell(old, Sold::new("EXPIRED", "pro", shop.at(0)));
        shop.tell(13, old, "pro", 60).await;
        assert_eq!((state(&amy).await, state(&bob).await), (pair("enterprise", "active"), pair("-", "-")), "{new}");
    }
    // A purchase that claims to have replaced itself.
    shop.google.sell("third", shop.sold("ACTIVE", "pro").linked("third"));
    shop.tell(2, "third", "pro", 70).await;
    assert_eq!(state(&amy).await, pair("pro", "active"));
}

async fn pending_replacement_leaves_the_old_purchase(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("old", shop.sold("ACTIVE", "pro"));
    link(&amy, "old", "pro").await.expect(200);
    shop.google.sell("new", shop.sold("PENDING", "enterprise").linked("old").unacknowledged());
    assert_eq!(link(&amy, "new", "enterprise").await.expect(200)["plan"], "pro", "the new one is not paid for");
    shop.google.sell("new", shop.sold("PENDING_PURCHASE_CANCELED", "enterprise").linked("old").unacknowledged());
    shop.tell(20, "new", "enterprise", 1).await;
    assert_eq!(state(&amy).await, pair("pro", "active"));
    shop.t.run_jobs().await;
    assert_eq!(shop.google.acknowledged(), [""; 0]);
    shop.google.sell("new", shop.sold("ACTIVE", "enterprise").linked("old").unacknowledged());
    shop.tell(4, "new", "enterprise", 2).await;
    assert_eq!(state(&amy).await, pair("enterprise", "active"));
    assert_eq!(shop.t.number("SELECT COUNT(*) FROM subscriptions WHERE superseded_by = 'new'").await, 1);
}

async fn account_id_finds_the_user(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro").of("amy"));
    shop.tell(4, "token", "pro", 0).await;
    assert_eq!(state(&amy).await, pair("pro", "active"));
    // It is hers now, whatever later purchases say.
    shop.google.sell("token", shop.sold("ON_HOLD", "pro"));
    shop.tell(5, "token", "pro", 1).await;
    assert_eq!(state(&amy).await, pair("pro", "past_due"));
}

async fn purchase_of_nobody_is_processed(b: Backend) {
    let shop = Shop::open(b).await;
    for (token, user) in [("one", "nobody"), ("two", ""), ("three", "a\nb")] {
        shop.google.sell(token, shop.sold("ACTIVE", "pro").of(user).unacknowledged());
        shop.tell(4, token, "pro", 0).await;
    }
    shop.t.run_jobs().await;
    assert_eq!(shop.google.acknowledged(), [""; 0], "nobody has got it, so Google may refund it");
    assert_eq!(shop.t.number("SELECT COUNT(*) FROM subscriptions").await, 0);
}

async fn purchase_is_acknowledged_once(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro").of("amy").unacknowledged());
    link(&amy, "token", "pro").await.expect(200);
    shop.tell(4, "token", "pro", 0).await;
    link(&amy, "token", "pro").await.expect(200);
    assert_eq!((shop.waiting("acknowledge_google_purchase").await, shop.google.acknowledged().len()), (1, 0));
    shop.t.run_jobs().await;
    assert_eq!(shop.google.acknowledged(), ["subscriptions/pro/tokens/token"]);
    shop.google.sell("token", shop.sold("ACTIVE", "pro"));
    shop.tell(2, "token", "pro", 1).await;
    shop.t.run_jobs().await;
    assert_eq!(shop.google.acknowledged().len(), 1);
}

async fn acknowledgement_is_tried_until_google_takes_it(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro").unacknowledged());
    link(&amy, "token", "pro").await.expect(200);
    shop.google.fail(Some(403));
    shop.jobs_after(0).await;
    assert_eq!(shop.waiting("acknowledge_google_purchase").await, 1);
    shop.google.fail(None);
    shop.jobs_after(2).await;
    assert_eq!((shop.waiting("acknowledge_google_purchase").await, shop.google.acknowledged().len()), (0, 1));
    let admin = shop.t.admin().await;
    let jobs = admin.get("/admin/jobs").await.expect_text(200);
    assert!(!jobs.contains("\"token\""), "purchase tokens are masked: {jobs}");
}

async fn erased_user_leaves_no_token(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.user("amy").await;
    shop.google.sell("token-of-amy", shop.sold("ACTIVE", "pro").unacknowledged());
    link(&amy, "token-of-amy", "pro").await.expect(200);
    shop.tell(2, "token-of-amy", "pro", 1).await;
    shop.google.put("token-of-amy", 404, json!({}));
    shop.tell(2, "token-of-amy", "pro", 2).await;
    shop.t.erase("amy").await.unwrap();
    for (table, column) in [("jobs", "kwargs"), ("webhook_events", "payload"), ("subscriptions", "external_id")] {
        let left = format!("SELECT COUNT(*) FROM {table} WHERE CAST({column} AS text) LIKE '%token-of-amy%'");
        assert_eq!(shop.t.number(&left).await, 0, "{table}");
    }
    shop.t.clock.advance(TimeDelta::hours(1));
    shop.t.run_jobs().await;
}
