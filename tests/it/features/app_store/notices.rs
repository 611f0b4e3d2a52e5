//! What each notice does to the subscription that it is about.

use serde_json::{Value, json};

use super::authority::APPLE;
use super::{BUNDLE, DAY, ENTERPRISE, Notice, Period, Shop, notice, pair, period, state};
use crate::harness::Backend;

crate::on_both_backends![
    notice_is_applied_once,
    each_notice_has_its_effect,
    refund_of_an_older_period_changes_nothing,
    refund_that_overtakes_a_renewal_does_not_undo_it,
    user_is_found_by_id_then_by_account,
    stored_payloads_hold_no_signed_text,
];
crate::on_sqlite![
    upgrade_counts_at_once_and_downgrade_at_renewal,
    upgrade_to_a_shorter_period_stays_when_refund_comes_late,
    period_that_is_over_does_not_activate,
    grace_period_is_the_end_of_access,
    late_notices_change_nothing,
    purchase_without_user_is_processed,
    other_purchases_than_subscriptions_change_nothing,
    notices_of_another_environment_are_only_recorded,
    notices_without_data_are_processed,
];

async fn notice_is_applied_once(b: Backend) {
    let shop = Shop::open(b).await;
    let user = shop.t.user("ada").await;
    let payload = shop.payload(&notice("SUBSCRIBED", Some("INITIAL_BUY"), 0, &period("o", Some("ada"))));
    assert_eq!(shop.deliver(&APPLE.sign(&payload)).await.expect(200), json!({"status": "processed"}));
    // Signed again, as a repetition may be.
    assert_eq!(shop.deliver(&APPLE.sign(&payload)).await.expect(200), json!({"status": "already_processed"}));
    assert_eq!(state(&user).await, pair("pro", "active"));
    let row = "SELECT COUNT(*) FROM subscriptions WHERE provider = 'apple' AND external_id = 'o' AND user_id = 'ada'
        AND product = 'com.example.pro.monthly' AND last_transaction_id = 'o-1'";
    assert_eq!(shop.t.number(row).await, 1);
    let event = "SELECT COUNT(*) FROM webhook_events WHERE provider = 'apple' AND event_type = 'SUBSCRIBED' AND occurred_at IS NOT NULL";
    assert_eq!((shop.events().await, shop.t.number(event).await), (1, 1));
    let kept = "SELECT COUNT(*) FROM users WHERE id = 'ada' AND apple_original_transaction_id = 'o' AND subscription_source = 'apple'";
    assert_eq!(shop.t.number(kept).await, 1);
}

async fn each_notice_has_its_effect(b: Backend) {
    let shop = Shop::open(b).await;
    let retry = json!({"isInBillingRetryPeriod": true});
    let grace = json!({"isInBillingRetryPeriod": true, "gracePeriodExpiresDate": shop.millis(DAY)});
    let table = [
        ("SUBSCRIBED", Some("RESUBSCRIBE"), Value::Null, ("pro", "active")),
        ("DID_RENEW", None, Value::Null, ("pro", "active")),
        ("DID_RENEW", Some("BILLING_RECOVERY"), Value::Null, ("pro", "active")),
        ("OFFER_REDEEMED", Some("DOWNGRADE"), Value::Null, ("pro", "active")),
        ("RENEWAL_EXTENDED", None, Value::Null, ("pro", "active")),
        ("EXPIRED", Some("VOLUNTARY"), Value::Null, ("free", "canceled")),
        ("EXPIRED", Some("ANYTHING_NEW"), Value::Null, ("free", "canceled")),
        ("GRACE_PERIOD_EXPIRED", None, Value::Null, ("free", "canceled")),
        ("REFUND", None, Value::Null, ("free", "canceled")),
        ("REVOKE", None, Value::Null, ("free", "canceled")),
        ("DID_FAIL_TO_RENEW", Some("GRACE_PERIOD"), grace.clone(), ("pro", "active")),
        ("DID_FAIL_TO_RENEW", None, retry, ("pro", "past_due")),
        ("DID_FAIL_TO_RENEW", None, json!({"isInBillingRetryPeriod": false}), ("pro", "incomplete")),
        ("DID_FAIL_TO_RENEW", None, Value::Null, ("pro", "incomplete")),
        ("DID_CHANGE_RENEWAL_STATUS", Some("AUTO_RENEW_DISABLED"), json!({"autoRenewStatus": 0}), ("pro", "active")),
        ("DID_CHANGE_RENEWAL_PREF", Some("DOWNGRADE"), json!({"autoRenewProductId": "basic"}), ("pro", "active")),
        ("DID_CHANGE_RENEWAL_PREF", None, Value::Null, ("pro", "active")),
        ("REFUND_DECLINED", None, Value::Null, ("pro", "active")),
        ("CONSUMPTION_REQUEST", None, Value::Null, ("pro", "active")),
        ("RENEWAL_EXTENSION", Some("FAILURE"), Value::Null, ("pro", "active")),
        ("PRICE_INCREASE", Some("PENDING"), Value::Null, ("pro", "active")),
        ("TEST", None, Value::Null, ("pro", "active")),
        ("ONE_TIME_CHARGE", None, Value::Null, ("pro", "active")),
        ("NEVER_HEARD_OF", Some("X"), Value::Null, ("pro", "active")),
    ];
    for (n, (kind, subtype, renewal, (plan, status))) in table.into_iter().enumerate() {
        let (user, first) = shop.buyer(&format!("user{n}")).await;
        shop.tell(&Notice { renewal, ..notice(kind, subtype, -10, &first) }).await;
        assert_eq!(state(&user).await, pair(plan, status), "{kind} {subtype:?}");
        // What is paid for later counts in any state.
        shop.tell(&notice("DID_RENEW", None, -5, &Period { product: ENTERPRISE, ..first.next("2") })).await;
        assert_eq!(state(&user).await, pair("enterprise", "active"), "renewal after {kind} {subtype:?}");
    }
}

async fn refund_of_an_older_period_changes_nothing(b: Backend) {
    let shop = Shop::open(b).await;
    for kind in ["REFUND", "REVOKE"] {
        let (user, first) = shop.buyer(kind).await;
        let second = first.next("2");
        shop.tell(&notice("DID_RENEW", None, -90, &second)).await;
        shop.tell(&notice(kind, None, -80, &first)).await;
        assert_eq!(state(&user).await, pair("pro", "active"), "the {kind} of last month ended this month");
        shop.tell(&notice("REFUND_REVERSED", None, -75, &Period { product: ENTERPRISE, ..first })).await;
        assert_eq!(state(&user).await, pair("pro", "active"), "the older period decides nothing");
        shop.tell(&notice(kind, None, -70, &second)).await;
        assert_eq!(state(&user).await, pair("free", "canceled"));
        shop.tell(&notice("REFUND_REVERSED", None, -60, &second)).await;
        assert_eq!(state(&user).await, pair("pro", "active"));
    }
}

async fn refund_that_overtakes_a_renewal_does_not_undo_it(b: Backend) {
    let shop = Shop::open(b).await;
    let (user, first) = shop.buyer("ada").await;
    let second = first.next("2");
    shop.tell(&notice("REFUND", None, -80, &first)).await;
    assert_eq!(state(&user).await, pair("free", "canceled"));
    shop.tell(&notice("DID_RENEW", None, -90, &second)).await;
    assert_eq!(state(&user).await, pair("pro", "active"));
    // Signed before the refund, but about the newer period.
    let failed = notice("DID_FAIL_TO_RENEW", None, -85, &second);
    shop.tell(&Notice { renewal: json!({"isInBillingRetryPeriod": true}), ..failed }).await;
    assert_eq!(state(&user).await, pair("pro", "past_due"));
    shop.tell(&notice("EXPIRED", None, -70, &first)).await;
    assert_eq!(state(&user).await, pair("pro", "past_due"));
}

async fn user_is_found_by_id_then_by_account(b: Backend) {
    let shop = Shop::open(b).await;
    let (ada, bob) = (shop.t.user("ada").await, shop.t.user("bob").await);
    shop.t.sql("UPDATE users SET apple_original_transaction_id = 'o' WHERE id = 'ada'").await;
    // The account of the purchase is another user's, and the stored owner counts.
    shop.tell(&notice("SUBSCRIBED", None, -10, &period("o", Some("bob")))).await;
    assert_eq!((state(&ada).await, state(&bob).await), (pair("pro", "active"), pair("free", "-")));
    shop.t.sql("UPDATE users SET apple_original_transaction_id = NULL WHERE id = 'ada'").await;
    shop.tell(&notice("EXPIRED", None, -9, &period("o", Some("bob")))).await;
    assert_eq!((state(&ada).await, state(&bob).await), (pair("free", "canceled"), pair("free", "-")));
    // A second subscription of a user; the kept id is that of the one that runs.
    let kept = |id: &'static str| {
        let t = &shop.t;
        async move { t.texts("SELECT apple_original_transaction_id FROM users WHERE id = 'ada'").await == [id] }
    };
    assert!(kept("o").await);
    shop.tell(&notice("SUBSCRIBED", None, -8, &period("p", Some("ada")))).await;
    assert_eq!(state(&ada).await, pair("pro", "active"));
    assert!(kept("p").await);
    shop.tell(&notice("SUBSCRIBED", None, -7, &period("q", Some("ada")))).await;
    assert!(kept("p").await, "it runs");
    shop.tell(&notice("EXPIRED", None, -6, &period("p", None))).await;
    assert_eq!(state(&ada).await, pair("pro", "active"));
}

async fn stored_payloads_hold_no_signed_text(b: Backend) {
    let shop = Shop::open(b).await;
    let (_, first) = shop.buyer("ada").await;
    shop.tell(&Notice { renewal: json!({"autoRenewStatus": 1}), ..notice("DID_RENEW", None, 0, &first.next("2")) }).await;
    let app_data = json!({
        "bundleId": BUNDLE, "environment": "Sandbox", "signedAppTransactionInfo": APPLE.sign(&json!({"canary": "decoded"}))
    });
    shop.deliver(&APPLE.sign(&shop.about("RESCIND_CONSENT", "appData", app_data.clone()))).await.expect(200);
    let mut forged = app_data;
    forged["signedAppTransactionInfo"] = super::authority::ROGUE.sign(&json!({"canary": "forged"})).into();
    shop.deliver(&APPLE.sign(&shop.about("RESCIND_CONSENT", "appData", forged))).await.expect(200);
    for (table, column) in [("webhook_events", "payload"), ("subscriptions", "raw")] {
        let texts = shop.t.texts(&format!("SELECT CAST({column} AS TEXT) FROM {table}")).await;
        assert!(!texts.is_empty());
        for text in texts {
            assert!(!text.contains("eyJ") && !text.contains("x5c") && !text.contains("forged"), "{table}: {text}");
        }
    }
    let admin = shop.t.admin().await;
    let list = admin.get("/admin/webhooks?event_type=DID_RENEW").await.expect(200);
    let detail = admin.get(&format!("/admin/webhooks/{}", list["items"][0]["id"].as_str().unwrap())).await.expect(200);
    let data = &detail["payload"]["data"];
    assert_eq!((&data["signedTransactionInfo"]["transactionId"], &data["signedRenewalInfo"]["autoRenewStatus"]), (&json!("ada-o-2"), &json!(1)));
    assert_eq!(data["signedTransactionInfo"]["appAccountToken"], "***");
}

async fn upgrade_counts_at_once_and_downgrade_at_renewal(b: Backend) {
    let shop = Shop::open(b).await;
    let (user, first) = shop.buyer("ada").await;
    let upgraded = Period { product: ENTERPRISE, start: -100, ..first.next("2") };
    shop.tell(&notice("DID_CHANGE_RENEWAL_PREF", Some("UPGRADE"), -100, &upgraded)).await;
    assert_eq!(state(&user).await, pair("enterprise", "active"));
    let renewal = json!({"autoRenewProductId": super::PRO});
    shop.tell(&Notice { renewal, ..notice("DID_CHANGE_RENEWAL_PREF", Some("DOWNGRADE"), -90, &upgraded) }).await;
    assert_eq!(state(&user).await, pair("enterprise", "active"));
    shop.tell(&notice("DID_RENEW", None, -80, &Period { product: super::PRO, ..upgraded.next("3") })).await;
    assert_eq!(state(&user).await, pair("pro", "active"));
}

async fn upgrade_to_a_shorter_period_stays_when_refund_comes_late(b: Backend) {
    let shop = Shop::open(b).await;
    let (user, first) = shop.buyer("ada").await;
    // It ends before the old one would have.
    let upgraded = Period { id: "week".to_owned(), product: ENTERPRISE, start: -100, end: 7 * DAY, ..first.clone() };
    shop.tell(&notice("DID_CHANGE_RENEWAL_PREF", Some("UPGRADE"), -100, &upgraded)).await;
    shop.tell(&notice("REFUND", None, -90, &first)).await;
    assert_eq!(state(&user).await, pair("enterprise", "active"));
    shop.tell(&notice("REFUND", None, -80, &upgraded)).await;
    assert_eq!(state(&user).await, pair("free", "canceled"));
}

async fn period_that_is_over_does_not_activate(b: Backend) {
    let shop = Shop::open(b).await;
    let user = shop.t.user("ada").await;
    let over = Period { start: -40 * DAY, end: -1, ..period("o", Some("ada")) };
    for kind in ["SUBSCRIBED", "DID_RENEW", "OFFER_REDEEMED", "RENEWAL_EXTENDED", "REFUND_REVERSED"] {
        shop.tell(&notice(kind, None, -10, &over)).await;
        assert_eq!(state(&user).await, pair("free", "-"), "{kind}");
    }
    shop.tell(&notice("DID_CHANGE_RENEWAL_PREF", Some("UPGRADE"), -10, &over)).await;
    assert_eq!(state(&user).await, pair("free", "-"));
    shop.tell(&notice("EXPIRED", None, -1, &over)).await;
    assert_eq!(state(&user).await, pair("free", "canceled"));
}

async fn grace_period_is_the_end_of_access(b: Backend) {
    let shop = Shop::open(b).await;
    let (user, first) = shop.buyer("ada").await;
    let over = Period { end: -60, ..first };
    let failed = |at: i64, until: i64| Notice {
        renewal: json!({"isInBillingRetryPeriod": true, "gracePeriodExpiresDate": shop.millis(until)}),
        ..notice("DID_FAIL_TO_RENEW", Some("GRACE_PERIOD"), at, &over)
    };
    shop.tell(&failed(-50, 6 * DAY)).await;
    assert_eq!(state(&user).await, pair("pro", "active"));
    let status = user.get("/app/billing/status").await.expect(200);
    let end: chrono::DateTime<chrono::Utc> = status["current_period_end"].as_str().unwrap().parse().unwrap();
    assert_eq!(end.timestamp_millis(), shop.millis(6 * DAY));
    // Told when the grace is over.
    shop.tell(&failed(-40, -20)).await;
    assert_eq!(state(&user).await, pair("pro", "past_due"));
}

async fn late_notices_change_nothing(b: Backend) {
    let shop = Shop::open(b).await;
    let (user, first) = shop.buyer("ada").await;
    shop.tell(&notice("EXPIRED", None, -10, &first)).await;
    shop.tell(&notice("DID_RENEW", None, -20, &first)).await;
    assert_eq!(state(&user).await, pair("free", "canceled"));
    // Signed in the same millisecond: a purchase comes before its end.
    shop.tell(&notice("SUBSCRIBED", None, -10, &first)).await;
    assert_eq!(state(&user).await, pair("free", "canceled"));
    shop.tell(&notice("REFUND_REVERSED", None, -10, &first)).await;
    assert_eq!(state(&user).await, pair("pro", "active"));
}

async fn purchase_without_user_is_processed(b: Backend) {
    let shop = Shop::open(b).await;
    for account in [None, Some("nobody"), Some("\u{1}")] {
        shop.tell(&notice("DID_RENEW", None, 0, &period("o", account))).await;
    }
    assert_eq!((shop.events().await, shop.t.number("SELECT COUNT(*) FROM subscriptions").await), (3, 0));
}

async fn other_purchases_than_subscriptions_change_nothing(b: Backend) {
    let shop = Shop::open(b).await;
    let (user, first) = shop.buyer("ada").await;
    for kind in ["Consumable", "Non-Consumable", "Non-Renewing Subscription"] {
        for (told, original) in [("REFUND", "ada-o"), ("ONE_TIME_CHARGE", "other"), ("REFUND", "other")] {
            let mut transaction = shop.transaction(&Period { original: original.to_owned(), ..first.clone() }, 0);
            transaction["type"] = kind.into();
            let data = json!({"bundleId": BUNDLE, "environment": "Sandbox", "signedTransactionInfo": APPLE.sign(&transaction)});
            shop.deliver(&APPLE.sign(&shop.about(told, "data", data))).await.expect(200);
        }
    }
    assert_eq!(state(&user).await, pair("pro", "active"));
    assert_eq!(shop.t.number("SELECT COUNT(*) FROM subscriptions").await, 1);
}

async fn notices_of_another_environment_are_only_recorded(b: Backend) {
    for (ours, works) in [("Production", false), ("Sandbox", true)] {
        let shop = Shop::with(b, &[("APPLE_ENVIRONMENT", ours)]).await;
        let user = shop.t.user("ada").await;
        shop.tell(&notice("SUBSCRIBED", None, 0, &period("o", Some("ada")))).await;
        assert_eq!(state(&user).await, if works { pair("pro", "active") } else { pair("free", "-") }, "{ours}");
        assert_eq!(shop.t.number("SELECT COUNT(*) FROM webhook_events WHERE status = 'processed'").await, 1);
        let signed_transaction = APPLE.sign(&shop.transaction(&period("p", None), 0));
        let linked = user.post("/app/billing/iap/apple", json!({"signed_transaction": signed_transaction})).await;
        assert_eq!(linked.status, if works { 200 } else { 400 }, "{}", linked.text());
    }
}

async fn notices_without_data_are_processed(b: Backend) {
    let shop = Shop::open(b).await;
    let notices = [
        ("RENEWAL_EXTENSION", "summary", json!({"environment": "Sandbox", "succeededCount": 3, "storefrontCountryCodes": ["NOR"]})),
        ("EXTERNAL_PURCHASE_TOKEN", "externalPurchaseToken", json!({"externalPurchaseId": "SANDBOX_1", "tokenCreationDate": 1})),
        ("EXTERNAL_PURCHASE_TOKEN", "externalPurchaseToken", json!({"externalPurchaseId": 5})),
        ("RESCIND_CONSENT", "appData", json!({"environment": "Sandbox", "appAppleId": 1})),
        ("TEST", "data", json!({"environment": "Sandbox"})),
        ("DID_RENEW", "data", json!({"environment": "Sandbox", "signedTransactionInfo": null})),
        ("DID_RENEW", "data", json!({"signedTransactionInfo": APPLE.sign(&json!({"bundleId": BUNDLE}))})),
    ];
    for (kind, member, mut about) in notices {
        about["bundleId"] = BUNDLE.into();
        let signed = APPLE.sign(&shop.about(kind, member, about));
        for answer in ["processed", "already_processed"] {
            assert_eq!(shop.deliver(&signed).await.expect(200)["status"], answer, "{kind} {member}");
        }
    }
}
