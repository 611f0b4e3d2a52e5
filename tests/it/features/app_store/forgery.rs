//! Notices that Apple did not sign for this app are refused, and leave no trace.

use http::Method;
use serde_json::{Value, json};

use super::authority::{APPLE, Authority, ROGUE, Recipe};
use super::{BUNDLE, ENTERPRISE, Period, Shop, notice, pair, period, state};
use crate::harness::Backend;

crate::on_sqlite![
    forged_notices_are_refused,
    forged_inner_parts_are_refused,
    chain_counts_at_the_time_of_signing,
    notices_about_other_apps_are_refused,
    app_number_is_checked_in_production,
    malformed_bodies_are_refused,
    unconfigured_app_store_is_unavailable,
];

/// JWS of this payload that must all be refused.
pub fn forgeries(payload: &Value) -> Vec<(&'static str, String)> {
    let with = |x5c: &[&String]| json!({"alg": "ES256", "x5c": x5c});
    let (own, rogue) = (&APPLE.chain, &ROGUE.chain);
    let good = APPLE.sign(payload);
    let parts: Vec<_> = good.split('.').collect();
    let other = APPLE.sign(&json!({"notificationType": "REFUND"}));
    let chain_of = |recipe: Recipe| APPLE.sibling(&recipe).sign(payload);
    let algorithm = |alg: &str| APPLE.sign_with(&json!({"alg": alg, "x5c": own}), payload);
    vec![
        ("self-made root", ROGUE.sign(payload)),
        ("self-made chain with our root", ROGUE.sign_with(&with(&[&rogue[0], &rogue[1], &own[2]]), payload)),
        ("self-made leaf under our intermediate", ROGUE.sign_with(&with(&[&rogue[0], &own[1], &own[2]]), payload)),
        ("stolen chain", ROGUE.sign_with(&with(&[&own[0], &own[1], &own[2]]), payload)),
        ("leaf only", APPLE.sign_with(&with(&[&own[0]]), payload)),
        ("chain of two", APPLE.sign_with(&with(&[&own[0], &own[1]]), payload)),
        ("chain of four", APPLE.sign_with(&with(&[&own[0], &own[1], &own[2], &own[2]]), payload)),
        ("chain in another order", APPLE.sign_with(&with(&[&own[0], &own[2], &own[1]]), payload)),
        ("no chain", APPLE.sign_with(&json!({"alg": "ES256"}), payload)),
        ("leaf without its mark", chain_of(Recipe { leaf_is_marked: false, ..Recipe::default() })),
        ("intermediate without its mark", chain_of(Recipe { issuer_is_marked: false, ..Recipe::default() })),
        ("expired leaf", chain_of(Recipe { leaf_years: (2020, 2021), ..Recipe::default() })),
        ("leaf of the future", chain_of(Recipe { leaf_years: (2089, 2090), ..Recipe::default() })),
        ("alg none", algorithm("none")),
        ("alg ES384", algorithm("ES384")),
        ("alg HS256", APPLE.sign_with_hmac(payload)),
        ("alg none without a signature", format!("{}.", algorithm("none").rsplit_once('.').unwrap().0)),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("swapped payload", format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2])),
        ("truncated", good[..good.len() - 8].to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("not a JWS", "a.b.c".to_owned()),
        ("no object", APPLE.sign(&json!([payload]))),
    ]
}

async fn forged_notices_are_refused(b: Backend) {
    let shop = Shop::open(b).await;
    let (user, first) = shop.buyer("ada").await;
    let refund = shop.payload(&notice("REFUND", None, 0, &first));
    for (what, forged) in forgeries(&refund) {
        let reply = shop.deliver(&forged).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        reply.expect_error(400, "BAD_REQUEST");
    }
    assert_eq!(shop.events().await, 1);
    assert_eq!(state(&user).await, pair("pro", "active"));
    // The same notice may come correctly later.
    assert_eq!(shop.deliver(&APPLE.sign(&refund)).await.expect(200)["status"], "processed");
    assert_eq!(state(&user).await, pair("free", "canceled"));
}

async fn forged_inner_parts_are_refused(b: Backend) {
    let shop = Shop::open(b).await;
    let user = shop.t.user("ada").await;
    let bought = Period { product: ENTERPRISE, ..period("o", Some("ada")) };
    let transaction = shop.transaction(&bought, 0);
    let data = |transaction: Value, renewal: Value| {
        let data = json!({"bundleId": BUNDLE, "environment": "Sandbox", "signedTransactionInfo": transaction, "signedRenewalInfo": renewal});
        APPLE.sign(&shop.about("SUBSCRIBED", "data", data))
    };
    let good = json!(APPLE.sign(&transaction));
    for (what, forged) in forgeries(&transaction) {
        for outer in [data(json!(forged), Value::Null), data(good.clone(), json!(forged))] {
            let reply = shop.deliver(&outer).await;
            assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        }
    }
    for wrong in [json!(""), json!(5), json!({}), json!([good])] {
        shop.deliver(&data(wrong.clone(), Value::Null)).await.expect_error(400, "BAD_REQUEST");
        shop.deliver(&data(good.clone(), wrong)).await.expect_error(400, "BAD_REQUEST");
    }
    let bundle = |bundle: Option<&str>| {
        let mut other = transaction.clone();
        other["bundleId"] = bundle.into();
        json!(APPLE.sign(&other))
    };
    for other in [Some("com.example.other"), Some(""), None] {
        shop.deliver(&data(bundle(other), Value::Null)).await.expect_error(400, "BAD_REQUEST");
    }
    shop.deliver(&data(good.clone(), bundle(Some("com.example.other")))).await.expect_error(400, "BAD_REQUEST");
    assert_eq!((shop.events().await, state(&user).await), (0, pair("free", "-")));
    // A renewal info names no bundle.
    shop.deliver(&data(good, bundle(None))).await.expect(200);
    assert_eq!(state(&user).await, pair("enterprise", "active"));
}

async fn chain_counts_at_the_time_of_signing(b: Backend) {
    let shop = Shop::open(b).await;
    let expired = APPLE.sibling(&Recipe { leaf_years: (2020, 2022), ..Recipe::default() });
    let mut late = shop.about("TEST", "data", json!({"bundleId": BUNDLE, "environment": "Sandbox"}));
    late["signedDate"] = 1_609_459_200_000_i64.into();
    shop.deliver(&expired.sign(&late)).await.expect(200);
    for (what, at) in [("later", json!(shop.millis(0))), ("tomorrow", json!(shop.millis(super::DAY))), ("text", json!("now"))] {
        let mut notice = late.clone();
        notice["signedDate"] = at;
        let signer: &Authority = if what == "later" { &expired } else { &APPLE };
        shop.deliver(&signer.sign(&notice)).await.expect_error(400, "BAD_REQUEST");
    }
    late.as_object_mut().unwrap().remove("signedDate");
    shop.deliver(&APPLE.sign(&late)).await.expect_error(400, "BAD_REQUEST");
    assert_eq!(shop.events().await, 1);
}

async fn notices_about_other_apps_are_refused(b: Backend) {
    let shop = Shop::open(b).await;
    for member in ["data", "summary", "externalPurchaseToken", "appData"] {
        for bundle in [json!("com.example.other"), json!(""), json!(null), json!(5), json!([BUNDLE])] {
            let other = shop.about("TEST", member, json!({"bundleId": bundle, "environment": "Sandbox"}));
            shop.deliver(&APPLE.sign(&other)).await.expect_error(400, "BAD_REQUEST");
        }
        let nobodys = shop.about("TEST", member, json!({"environment": "Sandbox"}));
        shop.deliver(&APPLE.sign(&nobodys)).await.expect_error(400, "BAD_REQUEST");
        // One that is right does not excuse another.
        let mut two = shop.about("TEST", member, json!({"bundleId": BUNDLE, "environment": "Sandbox"}));
        two[if member == "data" { "summary" } else { "data" }] = json!({"bundleId": "com.example.other"});
        shop.deliver(&APPLE.sign(&two)).await.expect_error(400, "BAD_REQUEST");
    }
    shop.deliver(&APPLE.sign(&shop.about("TEST", "other", json!({"bundleId": BUNDLE})))).await.expect_error(400, "BAD_REQUEST");
    let named = |id: Value, kind: Value| {
        let mut notice = shop.about("TEST", "data", json!({"bundleId": BUNDLE, "environment": "Sandbox"}));
        (notice["notificationUUID"], notice["notificationType"]) = (id, kind);
        APPLE.sign(&notice)
    };
    for (id, kind) in [(json!(""), json!("TEST")), (json!(null), json!("TEST")), (json!("a"), json!("")), (json!("a"), json!(7))] {
        shop.deliver(&named(id, kind)).await.expect_error(400, "BAD_REQUEST");
    }
    assert_eq!(shop.events().await, 0);
}

async fn app_number_is_checked_in_production(b: Backend) {
    let shop = Shop::with(b, &[("APPLE_APP_APPLE_ID", "1234567890")]).await;
    let about = |member: &str, environment: &str, number: Value| {
        let about = json!({"bundleId": BUNDLE, "environment": environment, "appAppleId": number});
        APPLE.sign(&shop.about("TEST", member, about))
    };
    for member in ["data", "summary", "appData"] {
        for wrong in [json!(1_234_567_891), json!(null), json!("1234567890")] {
            shop.deliver(&about(member, "Production", wrong.clone())).await.expect_error(400, "BAD_REQUEST");
            shop.deliver(&about(member, "Sandbox", wrong)).await.expect(200);
        }
        shop.deliver(&about(member, "Production", json!(1_234_567_890))).await.expect(200);
    }
    // These have no member for the environment.
    let token = |id: &str, number: i64| {
        let about = json!({"bundleId": BUNDLE, "externalPurchaseId": id, "appAppleId": number});
        APPLE.sign(&shop.about("EXTERNAL_PURCHASE_TOKEN", "externalPurchaseToken", about))
    };
    shop.deliver(&token("a", 1)).await.expect_error(400, "BAD_REQUEST");
    shop.deliver(&token("SANDBOX_a", 1)).await.expect(200);
    shop.deliver(&token("b", 1_234_567_890)).await.expect(200);
}

async fn malformed_bodies_are_refused(b: Backend) {
    let shop = Shop::open(b).await;
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("{{\"signedPayload\": {nested}}}");
    for body in ["", "{", "{}", "[]", "null", "7", "\u{0}", r#"{"signedPayload":""}"#, r#"{"signedPayload":5}"#, r#"{"signedPayload":["a.b.c"]}"#, &nested, &deep]
    {
        let call = shop.anybody.call(Method::POST, "/public/webhooks/apple").body("application/json", body.to_owned());
        call.await.expect_error(400, "BAD_REQUEST");
    }
    let large = vec![b' '; (1 << 20) + 1];
    let call = shop.anybody.call(Method::POST, "/public/webhooks/apple").body("application/json", large);
    call.await.expect_error(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(shop.events().await, 0);
}

async fn unconfigured_app_store_is_unavailable(b: Backend) {
    let t = crate::harness::TestApp::start(b).await;
    t.anonymous().post("/public/webhooks/apple", json!({"signedPayload": "x"})).await.expect_error(503, "SERVICE_UNAVAILABLE");
    let reply = t.user("ada").await.post("/app/billing/iap/apple", json!({"signed_transaction": "x"})).await;
    reply.expect_error(503, "SERVICE_UNAVAILABLE");
}
