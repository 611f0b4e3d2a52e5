//! Who may push, and which bodies are understood.

use http::Method;
use serde_json::{Value, json};

use super::google::{AUDIENCE, PACKAGE, PUSHER, claims, envelope};
use super::{Shop, pair, state};
use crate::harness::issuer::{ec_key, rsa_key};
use crate::harness::tokens::{seal, signed_part};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![valid_push_is_applied_once, twenty_pushes_at_once_are_one_event];
crate::on_sqlite![
    push_without_google_is_503,
    push_with_doubtful_token_is_401,
    push_without_audience_or_account_is_401,
    push_without_reachable_keys_is_503,
    push_of_another_shape_is_400,
    test_and_foreign_notifications_are_answered,
    unknown_type_is_stored_by_number,
];

async fn push_without_google_is_503(b: Backend) {
    let t = TestApp::start(b).await;
    let reply = t.anonymous().post("/public/webhooks/google", json!({"message": {}})).await;
    reply.expect_error(503, "SERVICE_UNAVAILABLE");
    let amy = t.user("amy").await;
    super::link(&amy, "token", "pro").await.expect_error(503, "SERVICE_UNAVAILABLE");
}

async fn push_with_doubtful_token_is_401(b: Backend) {
    let shop = Shop::open(b).await;
    shop.buyer("amy", "token").await;
    let (now, key) = (shop.t.clock.now(), rsa_key(0));
    let with = |name: &str, value: Value| {
        let mut claims = claims(now);
        claims[name] = value;
        key.token("push", &claims)
    };
    let without = |name: &str| {
        let mut claims = claims(now);
        claims.as_object_mut().unwrap().remove(name);
        key.token("push", &claims)
    };
    let good = claims(now);
    let parts = |header: Value| signed_part(header.to_string(), good.to_string());
    let valid = key.token("push", &good);
    let (message, signature) = valid.rsplit_once('.').unwrap();
    let public = rsa_key(0).public_bytes();
    let tokens = [
        "x.y.z".to_owned(),
        String::new(),
        "x".repeat(9000),
        rsa_key(1).token("push", &good),
        key.token("unknown", &good),
        ec_key(0).token("push", &good),
        seal(&parts(json!({"alg": "HS256", "kid": "push"})), &public),
        format!("{}.", parts(json!({"alg": "none"}))),
        format!("{}.AAAA", parts(json!({"alg": "none", "kid": "push"}))),
        format!("{message}."),
        format!("{}.{signature}", signed_part(r#"{"alg":"RS256","kid":"push"}"#, with("email", "eve@example.com".into()))),
        with("iss", "https://accounts.google.com.example.com".into()),
        with("aud", "another".into()),
        with("aud", json!([AUDIENCE])),
        with("email", "eve@example.com".into()),
        with("email_verified", false.into()),
        with("email_verified", "true".into()),
        with("exp", (now.timestamp() - 11).into()),
        with("exp", "tomorrow".into()),
        with("iat", (now.timestamp() + 60).into()),
        with("nbf", (now.timestamp() + 60).into()),
        without("iss"),
        without("aud"),
        without("email"),
        without("email_verified"),
        without("exp"),
    ];
    let body = envelope("1", &shop.note(4, "token", "pro", 0));
    for token in tokens {
        let reply = shop.t.with_token(&token).post("/public/webhooks/google", body.clone()).await;
        assert_eq!(reply.status.as_u16(), 401, "{token}: {}", reply.text());
        reply.expect_error(401, "AUTHENTICATION_ERROR");
    }
    for header in ["Basic eDp5", "Bearer", valid.as_str(), "Bearer \u{e9}"] {
        let call = shop.t.anonymous().call(Method::POST, "/public/webhooks/google").header("authorization", header).json(&body);
        call.await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    shop.t.anonymous().post("/public/webhooks/google", body.clone()).await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(shop.t.number("SELECT COUNT(*) FROM webhook_events").await, 0, "a refused push leaves no trace");
    // The id may be delivered correctly later, with either spelling of the issuer.
    let plain = shop.t.with_token(&with("iss", "accounts.google.com".into()));
    assert_eq!(plain.post("/public/webhooks/google", body).await.expect(200), json!({"status": "processed"}));
}

async fn push_without_audience_or_account_is_401(b: Backend) {
    for (missing, present) in [("GOOGLE_PUBSUB_AUDIENCE", PUSHER), ("GOOGLE_PUBSUB_SERVICE_ACCOUNT", AUDIENCE)] {
        let shop = Shop::with(b, &[(missing, "")]).await;
        let reply = shop.push("1", &json!({"packageName": PACKAGE, "testNotification": {}})).await;
        assert_eq!(reply.status.as_u16(), 401, "only {present}: {}", reply.text());
    }
}

async fn push_without_reachable_keys_is_503(b: Backend) {
    let shop = Shop::with(b, &[("GOOGLE_CERTS_URL", "http://127.0.0.1:9/certs")]).await;
    let data = json!({"packageName": PACKAGE, "testNotification": {}});
    shop.push("1", &data).await.expect_error(503, "SERVICE_UNAVAILABLE");
    let forged = shop.t.with_token("x.y.z").post("/public/webhooks/google", envelope("1", &data)).await;
    forged.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn push_of_another_shape_is_400(b: Backend) {
    let shop = Shop::open(b).await;
    let good = envelope("1", &shop.note(4, "token", "pro", 0));
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        edit(&mut body);
        body.to_string()
    };
    let data = |data: Value| envelope("1", &data).to_string();
    let told = |notification: Value| data(json!({"packageName": PACKAGE, "subscriptionNotification": notification}));
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let bodies = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        deep,
        json!({"message": [], "subscription": "s"}).to_string(),
        edited(&|body| body["message"]["data"] = "not base64!".into()),
        edited(&|body| body["message"]["data"] = "bm90IGpzb24=".into()),
        edited(&|body| body["message"]["data"] = 7.into()),
        edited(&|body| body["message"]["messageId"] = "".into()),
        edited(&|body| body["message"]["messageId"] = 5.into()),
        edited(&|body| body["message"]["messageId"] = "x".repeat(256).into()),
        edited(&|body| body["message"]["publishTime"] = Value::Null),
        edited(&|body| body["subscription"] = Value::Null),
        data(json!([])),
        data(json!("text")),
        data(json!({"testNotification": {}})),
        data(json!({"packageName": "com.example.other", "testNotification": {}})),
        data(json!({"packageName": [PACKAGE], "testNotification": {}})),
        told(json!([])),
        told(json!({})),
        told(json!({"notificationType": "4", "purchaseToken": "t"})),
        told(json!({"notificationType": 4})),
        told(json!({"notificationType": 4, "purchaseToken": ""})),
        told(json!({"notificationType": 4, "purchaseToken": 7})),
        told(json!({"notificationType": 4, "purchaseToken": "a\u{0}b"})),
        told(json!({"notificationType": 4, "purchaseToken": "x".repeat(1501)})),
        data(json!({"packageName": PACKAGE, "voidedPurchaseNotification": {"productType": 1}})),
    ];
    for body in bodies {
        let reply = shop.pusher.call(Method::POST, "/public/webhooks/google").body("application/json", body.clone()).await;
        assert_eq!(reply.status.as_u16(), 400, "{body}: {}", reply.text());
        reply.expect_error(400, "BAD_REQUEST");
    }
    assert_eq!(shop.t.number("SELECT COUNT(*) FROM webhook_events").await, 0);
}

async fn test_and_foreign_notifications_are_answered(b: Backend) {
    let shop = Shop::open(b).await;
    for (data, status) in [
        (json!({"packageName": PACKAGE, "testNotification": {"version": "1.0"}}), "test_acknowledged"),
        (json!({"packageName": PACKAGE, "oneTimeProductNotification": {"purchaseToken": "t", "sku": "x"}}), "ignored"),
        (json!({"packageName": PACKAGE, "voidedPurchaseNotification": {"purchaseToken": "t", "productType": 2}}), "ignored"),
        (json!({"packageName": PACKAGE}), "ignored"),
    ] {
        for _ in 0..2 {
            assert_eq!(shop.push("1", &data).await.expect(200), json!({"status": status}), "{data}");
        }
    }
    assert_eq!((shop.t.number("SELECT COUNT(*) FROM webhook_events").await, shop.google.reads()), (0, 0));
}

async fn unknown_type_is_stored_by_number(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    for (kind, name) in [(13, "SUBSCRIPTION_EXPIRED"), (9, "SUBSCRIPTION_DEFERRED"), (99, "SUBSCRIPTION_99"), (-1, "SUBSCRIPTION_-1")] {
        shop.tell(kind, "token", "pro", 0).await;
        let stored = format!("SELECT COUNT(*) FROM webhook_events WHERE event_type = '{name}' AND status = 'processed'");
        assert_eq!(shop.t.number(&stored).await, 1, "{name}");
    }
    assert_eq!(state(&amy).await, pair("free", "canceled"));
    let admin = shop.t.admin().await;
    let listed = admin.get("/admin/webhooks").query(&[("event_type", "SUBSCRIPTION_99")]).await.expect(200);
    let id = listed["items"][0]["id"].as_str().unwrap();
    let detail = admin.get(&format!("/admin/webhooks/{id}")).await.expect(200);
    let told = &detail["payload"]["subscriptionNotification"];
    assert_eq!(
        (&detail["payload"]["packageName"], &told["purchaseToken"], &told["subscriptionId"]),
        (&json!(PACKAGE), &json!("***"), &json!("pro"))
    );
    let metrics = shop.t.anonymous().get("/public/metrics").await.expect_text(200);
    assert!(metrics.contains(r#"event_type="SUBSCRIPTION_EXPIRED",provider="google",status="processed"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"event_type="other",provider="google",status="processed"} 2"#), "{metrics}");
}

async fn valid_push_is_applied_once(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    shop.google.sell("token", shop.sold("ACTIVE", "enterprise_monthly"));
    let data = shop.note(4, "token", "enterprise_monthly", 0);
    assert_eq!(shop.push("1", &data).await.expect(200), json!({"status": "processed"}));
    assert_eq!(state(&amy).await, pair("enterprise", "active"));
    assert_eq!(shop.push("1", &data).await.expect(200), json!({"status": "already_processed"}));
    assert_eq!(shop.google.reads(), 1, "Google is not asked for an event that is done");
}

async fn twenty_pushes_at_once_are_one_event(b: Backend) {
    let shop = Shop::open(b).await;
    let amy = shop.buyer("amy", "token").await;
    shop.google.sell("token", shop.sold("ACTIVE", "pro").unacknowledged());
    let data = shop.note(4, "token", "pro", 0);
    let replies = futures_util::future::join_all((0..20).map(|_| async { shop.push("1", &data).await.expect(200) })).await;
    assert_eq!(replies.iter().filter(|reply| reply["status"] == "processed").count(), 1, "{replies:?}");
    assert_eq!((state(&amy).await, shop.t.number("SELECT COUNT(*) FROM subscriptions").await), (pair("pro", "active"), 1));
    shop.t.run_jobs().await;
    assert_eq!(shop.google.acknowledged(), ["subscriptions/pro/tokens/token"]);
}
