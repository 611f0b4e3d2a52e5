//! `POST /app/billing/iap/apple`: purchases that the app reports.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::authority::APPLE;
use super::{BUNDLE, DAY, ENTERPRISE, Period, Shop, forgery, notice, pair, period, state};
use crate::harness::{Backend, Client, Reply};

crate::on_both_backends![
    linked_purchase_gives_the_plan_and_finds_its_notices,
    purchase_of_another_user_is_refused,
    twenty_links_of_two_users_leave_one_owner,
    links_and_notices_at_once_leave_one_subscription,
];
crate::on_sqlite![unusable_transactions_are_refused, replayed_transaction_does_not_undo_a_refund, link_of_a_running_purchase_is_repeatable];

async fn link(user: &Client, payload: &Value) -> Reply {
    user.post("/app/billing/iap/apple", json!({"signed_transaction": APPLE.sign(payload)})).await
}

async fn linked_purchase_gives_the_plan_and_finds_its_notices(b: Backend) {
    let shop = Shop::open(b).await;
    let user = shop.t.user("ada").await;
    let first = Period { product: ENTERPRISE, ..period("o", None) };
    shop.tell(&notice("SUBSCRIBED", None, -10, &first)).await;
    assert_eq!(state(&user).await, pair("free", "-"));
    let status = link(&user, &shop.transaction(&first, 0)).await.expect(200);
    assert_eq!((&status["plan"], &status["status"], &status["has_active_subscription"]), (&json!("enterprise"), &json!("active"), &json!(true)));
    assert_eq!(status, user.get("/app/billing/status").await.expect(200));
    assert_eq!(state(&user).await, pair("enterprise", "active"));
    shop.tell(&notice("EXPIRED", None, 10, &first)).await;
    assert_eq!(state(&user).await, pair("free", "canceled"));
    let kept = "SELECT COUNT(*) FROM users WHERE id = 'ada' AND apple_original_transaction_id = 'o'";
    assert_eq!(shop.t.number(kept).await, 1);
}

async fn purchase_of_another_user_is_refused(b: Backend) {
    let shop = Shop::open(b).await;
    let (ada, bob) = (shop.t.user("ada").await, shop.t.user("bob").await);
    let bought = shop.transaction(&period("o", None), 0);
    link(&ada, &bought).await.expect(200);
    link(&bob, &bought).await.expect_error(409, "CONFLICT");
    // Also where only the user's column knows it, and where the app named another user.
    shop.t.sql("UPDATE users SET apple_original_transaction_id = 'p' WHERE id = 'ada'").await;
    link(&bob, &shop.transaction(&period("p", Some("bob")), 0)).await.expect_error(409, "CONFLICT");
    link(&bob, &shop.transaction(&period("q", Some("ada")), 0)).await.expect_error(409, "CONFLICT");
    assert_eq!(state(&bob).await, pair("free", "-"));
    // A user who does not exist claims nothing.
    link(&bob, &shop.transaction(&period("r", Some("nobody")), 0)).await.expect(200);
    link(&ada, &shop.transaction(&period("q", Some("ada")), 0)).await.expect(200);
    assert_eq!((state(&ada).await, state(&bob).await), (pair("pro", "active"), pair("pro", "active")));
}

async fn twenty_links_of_two_users_leave_one_owner(b: Backend) {
    let shop = Shop::open(b).await;
    let users = [shop.t.user("ada").await, shop.t.user("bob").await];
    for round in 0..6 {
        let bought = shop.transaction(&period(&format!("o{round}"), None), 0);
        let replies = join_all((0..20).map(|n| link(&users[n % 2], &bought))).await;
        let won = |user: usize| replies.iter().skip(user).step_by(2).filter(|reply| reply.status == 200).count();
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
        assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
        assert!([(10, 0), (0, 10)].contains(&(won(0), won(1))), "{statuses:?}");
        assert_eq!(shop.t.number(&format!("SELECT COUNT(*) FROM subscriptions WHERE external_id = 'o{round}'")).await, 1);
    }
}

async fn links_and_notices_at_once_leave_one_subscription(b: Backend) {
    let shop = Shop::open(b).await;
    let user = shop.t.user("ada").await;
    let first = period("o", Some("ada"));
    let bought = shop.transaction(&first, -30);
    let signed: Vec<_> = (0..10).map(|n| APPLE.sign(&shop.payload(&notice("DID_RENEW", None, n - 20, &first)))).collect();
    let links = join_all((0..10).map(|_| link(&user, &bought)));
    let notices = join_all(signed.iter().map(|signed| shop.deliver(signed)));
    let (links, notices) = futures_util::future::join(links, notices).await;
    for reply in links.into_iter().chain(notices) {
        reply.expect(200);
    }
    assert_eq!((shop.t.number("SELECT COUNT(*) FROM subscriptions").await, state(&user).await), (1, pair("pro", "active")));
}

async fn unusable_transactions_are_refused(b: Backend) {
    let shop = Shop::open(b).await;
    let user = shop.t.user("ada").await;
    let good = shop.transaction(&period("o", None), 0);
    for (what, forged) in forgery::forgeries(&good) {
        let reply = user.post("/app/billing/iap/apple", json!({"signed_transaction": forged})).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
    }
    let with = |name: &str, value: Value| {
        let mut payload = good.clone();
        payload[name] = value;
        payload
    };
    for payload in [
        with("bundleId", json!("com.example.other")),
        with("bundleId", Value::Null),
        with("expiresDate", json!(shop.millis(0))),
        with("expiresDate", json!(shop.millis(-DAY))),
        with("expiresDate", Value::Null),
        with("revocationDate", json!(shop.millis(-1))),
        with("type", json!("Consumable")),
        with("originalTransactionId", Value::Null),
        with("signedDate", json!(shop.millis(DAY))),
        json!({"bundleId": BUNDLE}),
    ] {
        link(&user, &payload).await.expect_error(400, "BAD_REQUEST");
    }
    for body in [json!({}), json!({"signed_transaction": ""}), json!({"signed_transaction": 5}), json!([])] {
        user.post("/app/billing/iap/apple", body).await.expect_invalid();
    }
    user.post("/app/billing/iap/apple", json!({"signed_transaction": "x".repeat(65537)})).await.expect_invalid();
    user.post("/app/billing/iap/apple", json!({"signed_transaction": "x".repeat(1 << 20)})).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    shop.anybody.post("/app/billing/iap/apple", json!({})).await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!((state(&user).await, shop.t.number("SELECT COUNT(*) FROM subscriptions").await), (pair("free", "-"), 0));
}

async fn replayed_transaction_does_not_undo_a_refund(b: Backend) {
    let shop = Shop::open(b).await;
    let (user, first) = shop.buyer("ada").await;
    let kept_by_the_app = shop.transaction(&first, -900);
    shop.tell(&notice("REFUND", None, -10, &first)).await;
    let status = link(&user, &kept_by_the_app).await.expect(200);
    assert_eq!((&status["plan"], &status["status"]), (&json!("free"), &json!("canceled")));
    assert_eq!(state(&user).await, pair("free", "canceled"));
}

async fn link_of_a_running_purchase_is_repeatable(b: Backend) {
    let shop = Shop::open(b).await;
    let (user, first) = shop.buyer("ada").await;
    for at in [-900, 0] {
        assert_eq!(link(&user, &shop.transaction(&first, at)).await.expect(200)["status"], "active");
    }
    assert_eq!(shop.t.number("SELECT COUNT(*) FROM subscriptions").await, 1);
}
