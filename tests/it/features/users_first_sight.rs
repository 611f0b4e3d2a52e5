//! First request of a new user: the user is created from the token's claims.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, SECRET, TestApp, tokens};

crate::on_both_backends![
    first_request_email_comes_from_first_usable_claim,
    first_request_name_comes_from_first_usable_claim,
    first_request_picture_comes_from_first_usable_claim,
    first_request_picture_not_http_url_is_dropped,
    first_request_placeholder_is_never_shared,
    first_request_claims_of_wrong_type_are_ignored,
    first_request_creates_active_user_with_defaults,
    first_request_sent_concurrently_creates_one_user,
    first_request_with_taken_email_returns_409,
    later_request_with_new_claims_keeps_profile,
];

/// Client of a new user. Its token has exactly these claims and the standard times.
#[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
fn newcomer(t: &TestApp, subject: &str, claims: Value) -> Client {
    let mut all = tokens::claims(subject, &t.clock).without("email");
    all.body.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    t.with_token(&all.sign(SECRET))
}

/// Checks the stored field for each set of claims, with a new user per case.
async fn first_sight(t: &TestApp, member: &str, cases: &[(Value, Value)]) {
    for (n, (claims, expected)) in cases.iter().enumerate() {
        let mut claims = claims.clone();
        if member != "email" {
            claims["email"] = json!(format!("{n}@example.test"));
        }
        let me = newcomer(t, &format!("user-{n}"), claims.clone()).get("/app/users/me").await.expect(200);
        assert_eq!(me[member], *expected, "{claims}");
    }
}

async fn first_request_email_comes_from_first_usable_claim(b: Backend) {
    let t = TestApp::start(b).await;
    let nested = |top: Value| json!({"email": top, "user_metadata": {"email": "user@x.test"}, "app_metadata": {"email": "app@x.test"}});
    let user = |n: u32| json!({"email": format!("user{n}@x.test")});
    let mut longest = format!("{}@x.test", "a".repeat(64));
    let cases = [
        (nested(json!("top@x.test")), json!("top@x.test")),
        (nested(json!("")), json!("app@x.test")),
        (json!({"email": " \t", "user_metadata": {"email": " "}, "app_metadata": {"email": "app2@x.test"}}), json!("app2@x.test")),
        (json!({"email": null, "user_metadata": user(3)}), json!("user-3@placeholder.local")),
        (json!({"email": 5, "user_metadata": "none", "app_metadata": user(4)}), json!("user4@x.test")),
        (json!({"email": "  Ada.Lovelace@Example.TEST \n"}), json!("ada.lovelace@example.test")),
        (json!({"email": "ANNA@MÜLLER.test"}), json!("anna@xn--mller-kva.test")),
        (json!({"email": longest}), json!(longest)),
        (json!({}), json!("user-8@placeholder.local")),
        (json!({"user_metadata": [], "app_metadata": {"email": {}}}), json!("user-9@placeholder.local")),
        (json!({"email": "unverified@x.test", "email_verified": false}), json!("user-10@placeholder.local")),
        (json!({"email": "unverified@x.test", "email_verified": "false"}), json!("user-11@placeholder.local")),
        (json!({"email": "verified@x.test", "email_verified": true}), json!("verified@x.test")),
        (json!({"email": "user-1@placeholder.local"}), json!("user-13@placeholder.local")),
        (json!({"email": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d"}), json!("user-14@placeholder.local")),
    ];
    longest.insert(0, 'a');
    first_sight(&t, "email", &cases).await;
    let odd = newcomer(&t, "Auth0|ABC Ünï", json!({"email": longest})).get("/app/users/me").await.expect(200);
    let hash = omnistack::platform::crypto::hex(&omnistack::platform::crypto::sha256("Auth0|ABC Ünï".as_bytes()));
    assert_eq!(odd["email"], format!("u-{}@placeholder.local", &hash[..32]));
}

async fn first_request_placeholder_is_never_shared(b: Backend) {
    let t = TestApp::start(b).await;
    let mut emails = Vec::new();
    for subject in ["auth0|amy", "AUTH0|amy", "auth0|AMY", "Amy", "amy", " amy"] {
        let me = newcomer(&t, subject, json!({})).get("/app/users/me").await.expect(200);
        assert_eq!(me["id"], subject);
        emails.push(me["email"].as_str().unwrap().to_owned());
    }
    emails.sort();
    emails.dedup();
    assert_eq!(emails.len(), 6, "{emails:?}");
    // Earlier versions let anybody claim a placeholder: its true owner is not locked out.
    t.sql("UPDATE users SET email = 'bob@placeholder.local' WHERE id = 'amy'").await;
    let bob = newcomer(&t, "bob", json!({})).get("/app/users/me").await.expect(200);
    assert!(bob["email"].as_str().unwrap().starts_with("u-"), "{bob}");
}

async fn first_request_name_comes_from_first_usable_claim(b: Backend) {
    let t = TestApp::start(b).await;
    let meta = json!({"full_name": "third", "name": "fourth"});
    let cases = [
        (json!({"name": "first", "full_name": "second", "user_metadata": meta}), json!("first")),
        (json!({"name": "", "full_name": "second", "user_metadata": meta}), json!("second")),
        (json!({"name": " ", "user_metadata": meta}), json!("third")),
        (json!({"user_metadata": {"full_name": null, "name": "fourth"}}), json!("fourth")),
        (json!({"app_metadata": {"name": "x"}, "nickname": "x"}), Value::Null),
        (json!({"name": "  Ada  "}), json!("Ada")),
        (json!({"name": "🚀".repeat(255)}), json!("🚀".repeat(255))),
        (json!({"name": "🚀".repeat(300)}), json!("🚀".repeat(255))),
        (json!({"name": "a\0b", "full_name": "second"}), json!("second")),
    ];
    first_sight(&t, "full_name", &cases).await;
}

async fn first_request_picture_comes_from_first_usable_claim(b: Backend) {
    let t = TestApp::start(b).await;
    let url = |n: u32| json!(format!("https://x.test/{n}.png"));
    let meta = json!({"avatar_url": url(3), "picture": url(4)});
    let cases = [
        (json!({"picture": url(1), "avatar_url": url(2), "user_metadata": meta}), url(1)),
        (json!({"picture": "", "avatar_url": url(2), "user_metadata": meta}), url(2)),
        (json!({"avatar_url": [], "user_metadata": meta}), url(3)),
        (json!({"user_metadata": {"picture": url(4)}}), url(4)),
        (json!({"app_metadata": {"picture": url(5)}}), Value::Null),
    ];
    first_sight(&t, "avatar_url", &cases).await;
}

async fn first_request_picture_not_http_url_is_dropped(b: Backend) {
    let t = TestApp::start(b).await;
    let long = |length: usize| json!(format!("https://x.test/{}", "x".repeat(length - 15)));
    let mut cases = vec![(json!({"picture": long(2048)}), long(2048)), (json!({"picture": long(2049)}), Value::Null)];
    for bad in ["javascript:alert(1)", "data:image/png;base64,AA", "/a.png", "x.test/a.png", "ftp://x.test/a.png", "https://"] {
        cases.push((json!({"picture": bad}), Value::Null));
    }
    first_sight(&t, "avatar_url", &cases).await;
}

async fn first_request_claims_of_wrong_type_are_ignored(b: Backend) {
    let t = TestApp::start(b).await;
    for (n, odd) in [json!(null), json!(5), json!(true), json!([]), json!({}), json!([{"email": "x"}])].into_iter().enumerate() {
        let names = ["email", "name", "full_name", "picture", "avatar_url", "user_metadata", "app_metadata", "role", "user_role"];
        let claims: serde_json::Map<String, Value> = names.into_iter().map(|name| (name.to_owned(), odd.clone())).collect();
        let me = newcomer(&t, &format!("odd-{n}"), claims.into()).get("/app/users/me").await.expect(200);
        let shown = ["email", "full_name", "avatar_url", "role"].map(|member| me[member].clone());
        assert_eq!(shown, [json!(format!("odd-{n}@placeholder.local")), Value::Null, Value::Null, json!("user")], "{odd}");
    }
}

async fn first_request_creates_active_user_with_defaults(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    // A role claim applies to the request but is not stored.
    let claimed = newcomer(&t, "amy", json!({"email": "amy@x.test", "role": "admin"}));
    claimed.get("/admin/users").await.expect(200);
    let now = t.clock.now();
    assert_eq!(
        admin.get("/admin/users/amy").await.expect(200),
        json!({
            "id": "amy", "email": "amy@x.test", "full_name": null, "avatar_url": null, "role": "user", "is_active": true,
            "subscription_plan": null, "subscription_status": null, "stripe_customer_id": null, "apple_original_transaction_id": null,
            "google_purchase_token": null, "login_count": 1, "last_login_at": now, "created_at": now, "updated_at": now,
        })
    );
}

async fn first_request_sent_concurrently_creates_one_user(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    for name in ["amy", "bob", "cleo"] {
        let here = newcomer(&t, name, json!({"email": format!("{name}@x.test")}));
        let there = other.with_token(here.token.as_ref().unwrap());
        let replies = join_all((0..20).map(|n| if n % 2 == 0 { &here } else { &there }.get("/app/users/me").into_future())).await;
        let first = replies[0].clone().expect(200);
        for reply in replies {
            assert_eq!(reply.expect(200), first);
        }
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 3);
    assert_eq!(t.number("SELECT CAST(SUM(login_count) AS BIGINT) FROM users").await, 3, "each user has one login");
}

async fn first_request_with_taken_email_returns_409(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = newcomer(&t, "amy", json!({"email": "amy@x.test"}));
    let before = amy.get("/app/users/me").await.expect(200);
    let eve = newcomer(&t, "eve", json!({"email": " AMY@x.test", "name": "Eve", "role": "admin"}));
    for reply in [
        eve.get("/app/users/me").await,
        eve.get("/app/users/me").await,
        eve.post("/app/projects", json!({"name": "x"})).await,
        eve.get("/admin/users").await,
    ] {
        assert_eq!(reply.expect_error(409, "CONFLICT"), json!({"resource": "User"}));
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 1);
    assert_eq!(amy.get("/app/users/me").await.expect(200), before);
    // With an unused address the same subject is accepted.
    newcomer(&t, "eve", json!({"email": "eve@x.test"})).get("/app/users/me").await.expect(200);
}

async fn later_request_with_new_claims_keeps_profile(b: Backend) {
    let t = TestApp::start(b).await;
    let first = newcomer(&t, "amy", json!({"email": "amy@x.test", "name": "Amy", "picture": "https://x.test/1.png"}));
    let before = first.get("/app/users/me").await.expect(200);
    t.clock.advance(TimeDelta::minutes(30));
    let changed = json!({"email": "new@x.test", "name": "Amy Pond", "picture": "https://x.test/2.png"});
    assert_eq!(newcomer(&t, "amy", changed.clone()).get("/app/users/me").await.expect(200), before);
    // Fields cleared by the user are not filled from the token again.
    let cleared = first.patch("/app/users/me", json!({"full_name": null, "avatar_url": null})).await.expect(200);
    t.clock.advance(TimeDelta::minutes(5));
    assert_eq!(newcomer(&t, "amy", changed).get("/app/users/me").await.expect(200), cleared);
}
