//! The caller's own profile (`/app/users/me`): read, update and protected fields.

use chrono::TimeDelta;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Backend, TestApp, tokens};

crate::on_both_backends![
    users_me_returns_current_profile,
    users_me_patch_changes_only_given_fields,
    users_me_patch_without_fields_changes_nothing,
    users_me_patch_protected_fields_are_ignored,
    deactivated_user_any_request_returns_403,
    admin_routes_without_admin_role_return_403_or_401,
];
crate::on_sqlite![
    users_me_patch_out_of_bounds_returns_422,
    users_me_delete_returns_405,
];

async fn users_me_returns_current_profile(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let me = json!({
        "id": "amy", "email": "amy@example.test", "full_name": null, "avatar_url": null, "role": "user", "is_active": true,
        "subscription_plan": null, "subscription_status": null, "created_at": t.clock.now(),
    });
    assert_eq!(amy.get("/app/users/me").await.expect(200), me);
    t.sql("UPDATE users SET subscription_plan = 'pro', subscription_status = 'trialing', role = 'admin', full_name = 'Amy'").await;
    let now = amy.get("/app/users/me").await.expect(200);
    let shown = ["subscription_plan", "subscription_status", "role", "full_name"].map(|member| now[member].as_str().unwrap());
    assert_eq!(shown, ["pro", "trialing", "admin", "Amy"], "the profile is never cached");
}

async fn users_me_patch_changes_only_given_fields(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    let mut me = amy.get("/app/users/me").await.expect(200);
    for change in [
        json!({"full_name": "Amy Pond"}),
        json!({"avatar_url": "https://example.test/amy.png"}),
        json!({"full_name": null}),
        json!({"full_name": "", "avatar_url": "http://example.test"}),
        json!({"full_name": "Amy", "avatar_url": null}),
    ] {
        t.clock.advance(TimeDelta::seconds(1));
        for (member, value) in change.as_object().unwrap() {
            me[member] = value.clone();
        }
        assert_eq!(amy.patch("/app/users/me", change).await.expect(200), me);
        assert_eq!(amy.get("/app/users/me").await.expect(200), me);
        assert_eq!(admin.get("/admin/users/amy").await.expect(200)["updated_at"], json!(t.clock.now()));
    }
}

async fn users_me_patch_without_fields_changes_nothing(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    amy.patch("/app/users/me", json!({"full_name": "Amy"})).await.expect(200);
    let before = admin.get("/admin/users/amy").await.expect(200);
    t.clock.advance(TimeDelta::minutes(1));
    amy.patch("/app/users/me", json!({})).await.expect(200);
    amy.patch("/app/users/me", json!({"unknown": 1})).await.expect(200);
    assert_eq!(admin.get("/admin/users/amy").await.expect(200), before);
}

async fn users_me_patch_out_of_bounds_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let url = |length: usize| format!("https://example.test/{}", "x".repeat(length - 21));
    for (member, good) in [
        ("full_name", json!("🚀".repeat(255))),
        ("avatar_url", json!(url(2048))),
        ("avatar_url", json!("HTTPS://example.test/ä?b=c#d")),
        ("avatar_url", json!("http://127.0.0.1:8080/x.png")),
    ] {
        assert_eq!(amy.patch("/app/users/me", json!({member: good})).await.expect(200)[member], good);
    }
    let before = amy.get("/app/users/me").await.expect(200);
    for (member, bad) in [
        ("full_name", json!("🚀".repeat(256))),
        ("full_name", json!("a\0b")),
        ("full_name", json!(5)),
        ("full_name", json!({})),
        ("avatar_url", json!(url(2049))),
        ("avatar_url", json!("")),
        ("avatar_url", json!("/amy.png")),
        ("avatar_url", json!("//example.test/amy.png")),
        ("avatar_url", json!("ftp://example.test/amy.png")),
        ("avatar_url", json!("javascript:alert(1)")),
        ("avatar_url", json!("data:image/png;base64,AAAA")),
        ("avatar_url", json!("https://")),
        ("avatar_url", json!("https://example.test/\0")),
        ("avatar_url", json!(["https://example.test"])),
    ] {
        assert_eq!(amy.patch("/app/users/me", json!({member: bad})).await.expect_invalid(), [member], "{bad}");
    }
    let mut both = amy.patch("/app/users/me", json!({"full_name": 5, "avatar_url": "x"})).await.expect_invalid();
    both.sort();
    assert_eq!(both, ["avatar_url", "full_name"]);
    assert_eq!(amy.patch("/app/users/me", json!([])).await.expect_invalid(), ["body"]);
    amy.call(Method::PATCH, "/app/users/me").body("application/json", "{").await.expect_error(400, "BAD_REQUEST");
    amy.call(Method::PATCH, "/app/users/me").body("text/plain", "{}").await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(amy.get("/app/users/me").await.expect(200), before);
}

async fn users_me_patch_protected_fields_are_ignored(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    let before = admin.get("/admin/users/amy").await.expect(200);
    let mut wish = json!({"id": "eve", "email": "eve@example.test", "role": "superadmin", "is_active": false, "login_count": 99});
    amy.patch("/app/users/me", wish.clone()).await.expect(200);
    assert_eq!(admin.get("/admin/users/amy").await.expect(200), before);
    wish["full_name"] = json!("Amy");
    wish["subscription_plan"] = json!("enterprise");
    wish["stripe_customer_id"] = json!("cus_1");
    amy.patch("/app/users/me", wish).await.expect(200);
    let after = admin.get("/admin/users/amy").await.expect(200);
    assert_eq!(after["full_name"], "Amy");
    let rest = |mut user: Value| {
        user["full_name"] = Value::Null;
        user
    };
    assert_eq!(rest(after), rest(before));
}

async fn users_me_delete_returns_405(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let reply = amy.delete("/app/users/me").await;
    let allow = reply.header("allow").unwrap().to_owned();
    reply.expect_error(405, "METHOD_NOT_ALLOWED");
    for method in ["GET", "PATCH"] {
        assert!(allow.split(',').any(|allowed| allowed.trim() == method), "{allow}");
    }
    assert!(!allow.contains("DELETE"), "{allow}");
    amy.get("/app/users/me").await.expect(200);
}

async fn deactivated_user_any_request_returns_403(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    admin.post("/admin/users/amy/deactivate", json!({})).await.expect(200);
    // A new token and a token with a role claim are rejected too.
    let fresh = t.with_token(&tokens::claims("amy", &t.clock).with("iat", json!(t.clock.now().timestamp())).sign(crate::harness::SECRET));
    let claimed = t.with_token(&tokens::claims("amy", &t.clock).with("role", json!("superadmin")).sign(crate::harness::SECRET));
    for client in [&amy, &fresh, &claimed] {
        for reply in [
            client.get("/app/users/me").await,
            client.patch("/app/users/me", json!({"full_name": 5})).await,
            client.get("/app/projects").await,
            client.post("/app/projects", json!({"name": "x"})).key("k").await,
            client.get("/admin/users").await,
        ] {
            assert_eq!(reply.expect_error(403, "AUTHORIZATION_ERROR"), json!({}));
        }
    }
    assert_eq!(admin.get("/admin/users/amy").await.expect(200)["login_count"], 1, "a rejected request does not count as a login");
}

async fn admin_routes_without_admin_role_return_403_or_401(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for reply in [
        amy.get("/admin/users").await,
        amy.get("/admin/users/amy").await,
        amy.get("/admin/users/nobody").await,
        amy.patch("/admin/users/amy", json!({"role": 5})).await,
        amy.post("/admin/users/amy/deactivate", json!({})).await,
        amy.post("/admin/users/amy/activate", json!({})).await,
    ] {
        reply.expect_error(403, "AUTHORIZATION_ERROR");
    }
    for reply in [t.anonymous().get("/admin/users").await, t.anonymous().patch("/admin/users/amy", json!([])).await] {
        reply.expect_error(401, "AUTHENTICATION_ERROR");
    }
}
