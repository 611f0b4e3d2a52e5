//! Rules of user administration: who may change whom, and when a change takes effect.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, SECRET, TestApp, services, tokens};

crate::on_both_backends![
    admin_patch_user_changes_given_fields,
    admin_removing_own_role_returns_400,
    admin_deactivating_self_returns_400,
    superadmin_role_changed_by_admin_returns_403,
    role_from_row_and_claim_uses_the_higher,
    role_in_untrusted_claim_is_ignored,
    user_deactivation_takes_effect_immediately,
    user_role_change_takes_effect_immediately,
    deactivated_admin_any_admin_request_returns_403,
    deactivation_without_redis_reaches_instances_in_5s,
    deactivation_with_redis_reaches_instances_in_1s,
];
crate::on_sqlite![
    admin_patch_user_invalid_body_returns_422,
];

/// Caller whose token has a role claim, independent of the stored role.
async fn claiming(t: &TestApp, name: &str, role: &str) -> Client {
    let client = t.with_token(&tokens::claims(name, &t.clock).with("role", json!(role)).sign(SECRET));
    client.get("/app/users/me").await.expect(200);
    client
}

async fn set_role(actor: &Client, id: &str, role: &str) -> crate::harness::Reply {
    actor.patch(&format!("/admin/users/{id}"), json!({"role": role})).await
}

async fn act(actor: &Client, id: &str, action: &str) -> crate::harness::Reply {
    actor.call(Method::POST, &format!("/admin/users/{id}/{action}")).await
}

async fn admin_patch_user_changes_given_fields(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    let mut expected = admin.get("/admin/users/amy").await.expect(200);
    for change in [
        json!({"full_name": "Amy Pond", "avatar_url": "https://example.test/amy.png"}),
        json!({"role": "admin"}),
        json!({"full_name": null, "avatar_url": null}),
        json!({"is_active": false, "role": "user"}),
        json!({"is_active": true}),
    ] {
        t.clock.advance(TimeDelta::seconds(1));
        for (member, value) in change.as_object().unwrap() {
            expected[member] = value.clone();
        }
        expected["updated_at"] = json!(t.clock.now());
        assert_eq!(admin.patch("/admin/users/amy", change).await.expect(200), expected);
        assert_eq!(admin.get("/admin/users/amy").await.expect(200), expected);
    }
    t.clock.advance(TimeDelta::seconds(1));
    let others = json!({"id": "eve", "email": "eve@example.test", "login_count": 9, "subscription_plan": "pro", "stripe_customer_id": "cus_1"});
    for nothing in [json!({}), others] {
        assert_eq!(admin.patch("/admin/users/amy", nothing).await.expect(200), expected);
    }
    assert_eq!(amy.get("/app/users/me").await.expect(200)["full_name"], Value::Null);
}

async fn admin_patch_user_invalid_body_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let (_amy, admin) = (t.user("amy").await, t.admin().await);
    let before = admin.get("/admin/users/amy").await.expect(200);
    for (member, bad) in [
        ("role", json!(null)),
        ("role", json!("owner")),
        ("role", json!("Admin")),
        ("role", json!("")),
        ("role", json!(1)),
        ("role", json!(["admin"])),
        ("is_active", json!(null)),
        ("is_active", json!("true")),
        ("is_active", json!(1)),
        ("full_name", json!("🚀".repeat(256))),
        ("full_name", json!("\0")),
        ("avatar_url", json!("javascript:alert(1)")),
        ("avatar_url", json!(format!("https://x.test/{}", "x".repeat(2040)))),
    ] {
        let reply = admin.patch("/admin/users/amy", json!({member: bad, "login_count": 3})).await;
        assert_eq!(reply.expect_invalid(), [member], "{bad}");
    }
    let mut all = admin.patch("/admin/users/amy", json!({"role": null, "is_active": null, "full_name": 5})).await.expect_invalid();
    all.sort();
    assert_eq!(all, ["full_name", "is_active", "role"]);
    assert_eq!(admin.patch("/admin/users/amy", json!("x")).await.expect_invalid(), ["body"]);
    assert_eq!(admin.get("/admin/users/amy").await.expect(200), before);
}

async fn admin_removing_own_role_returns_400(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let root = t.user_with_role("root", "superadmin").await;
    let claimed = claiming(&t, "claimed", "admin").await;
    let claimed_root = claiming(&t, "claimed-root", "superadmin").await;
    for (actor, id, roles) in [
        (&admin, "the-admin", &["user"][..]),
        (&root, "root", &["user", "admin"]),
        (&claimed, "claimed", &["user"]),
        (&claimed_root, "claimed-root", &["user", "admin"]),
    ] {
        let before = root.get(&format!("/admin/users/{id}")).await.expect(200);
        for role in roles {
            assert_eq!(set_role(actor, id, role).await.expect_error(400, "BAD_REQUEST"), json!({}));
            let hidden = json!({"role": role, "full_name": "changed"});
            actor.patch(&format!("/admin/users/{id}"), hidden).await.expect_error(400, "BAD_REQUEST");
        }
        assert_eq!(root.get(&format!("/admin/users/{id}")).await.expect(200), before);
        // Changing another field is allowed, and so is setting the current role again (below).
        assert_eq!(actor.patch(&format!("/admin/users/{id}"), json!({"full_name": "Me"})).await.expect(200)["full_name"], "Me");
    }
    set_role(&admin, "the-admin", "admin").await.expect(200);
    set_role(&root, "root", "superadmin").await.expect(200);
    // Administrators may change each other's role.
    assert_eq!(set_role(&admin, "claimed", "admin").await.expect(200)["role"], "admin");
    assert_eq!(set_role(&claimed, "the-admin", "user").await.expect(200)["role"], "user");
}

async fn admin_deactivating_self_returns_400(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let claimed = claiming(&t, "claimed", "superadmin").await;
    for (actor, id) in [(&admin, "the-admin"), (&claimed, "claimed"), (&admin, "the%2Dadmin")] {
        act(actor, id, "deactivate").await.expect_error(400, "BAD_REQUEST");
        actor.patch(&format!("/admin/users/{id}"), json!({"is_active": false})).await.expect_error(400, "BAD_REQUEST");
        actor.patch(&format!("/admin/users/{id}"), json!({"is_active": false, "full_name": "x"})).await.expect_error(400, "BAD_REQUEST");
        let me = act(actor, id, "activate").await.expect(200);
        assert_eq!((&me["is_active"], &me["full_name"]), (&json!(true), &Value::Null));
    }
}

async fn superadmin_role_changed_by_admin_returns_403(b: Backend) {
    let t = TestApp::start(b).await;
    let _amy = t.user("amy").await;
    let (admin, claimed) = (t.admin().await, claiming(&t, "claimed", "admin").await);
    let root = t.user_with_role("root", "superadmin").await;
    let claimed_root = claiming(&t, "claimed-root", "superadmin").await;
    for actor in [&admin, &claimed] {
        for id in ["amy", "the-admin", "claimed"] {
            assert_eq!(set_role(actor, id, "superadmin").await.expect_error(403, "AUTHORIZATION_ERROR"), json!({}));
        }
        for role in ["user", "admin"] {
            set_role(actor, "root", role).await.expect_error(403, "AUTHORIZATION_ERROR");
        }
        actor.patch("/admin/users/root", json!({"full_name": "x", "role": "user"})).await.expect_error(403, "AUTHORIZATION_ERROR");
    }
    let untouched = root.get("/admin/users/root").await.expect(200);
    assert_eq!((&untouched["role"], &untouched["full_name"]), (&json!("superadmin"), &Value::Null));
    for (body, action) in [(json!({"full_name": "x"}), "deactivate"), (json!({"avatar_url": null, "is_active": true}), "activate")] {
        for actor in [&admin, &claimed] {
            actor.patch("/admin/users/root", body.clone()).await.expect_error(403, "AUTHORIZATION_ERROR");
            act(actor, "root", action).await.expect_error(403, "AUTHORIZATION_ERROR");
            set_role(actor, "root", "superadmin").await.expect_error(403, "AUTHORIZATION_ERROR");
        }
    }
    assert_eq!(root.get("/admin/users/root").await.expect(200), untouched);
    for actor in [&root, &claimed_root] {
        for role in ["superadmin", "admin", "superadmin", "user"] {
            assert_eq!(set_role(actor, "amy", role).await.expect(200)["role"], role);
        }
    }
    assert_eq!(set_role(&claimed_root, "root", "admin").await.expect(200)["role"], "admin");
    set_role(&root, "amy", "superadmin").await.expect_error(403, "AUTHORIZATION_ERROR");
}

async fn role_from_row_and_claim_uses_the_higher(b: Backend) {
    let t = TestApp::start(b).await;
    for (row, claim, is_admin, is_root) in [
        ("user", "user", false, false),
        ("user", "admin", true, false),
        ("user", "superadmin", true, true),
        ("user", "owner", false, false),
        ("user", " admin", false, false),
        ("admin", "user", true, false),
        ("admin", "superadmin", true, true),
        ("superadmin", "user", true, true),
        ("superadmin", "admin", true, true),
    ] {
        let name = format!("{row}-{}", claim.trim());
        let target = format!("target-of-{name}");
        t.user(&target).await;
        t.user_with_role(&name, row).await;
        let client = claiming(&t, &name, claim).await;
        assert_eq!(client.get("/admin/users").await.status == 200, is_admin, "{name}");
        assert_eq!(set_role(&client, &target, "superadmin").await.status == 200, is_root, "{name}");
        assert_eq!(client.get("/app/users/me").await.expect(200)["role"], row, "a role claim is not stored");
    }
}

async fn role_in_untrusted_claim_is_ignored(b: Backend) {
    let t = TestApp::start(b).await;
    for (n, place) in ["user_metadata", "raw_user_meta_data", "unsafe_metadata", "public_metadata"].into_iter().enumerate() {
        let claims = tokens::claims(&format!("eve-{n}"), &t.clock).with(place, json!({"role": "superadmin"}));
        t.with_token(&claims.sign(SECRET)).get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
    }
    for (n, (name, value)) in [("role", json!("admin")), ("user_role", json!("admin")), ("app_metadata", json!({"role": "admin"}))].into_iter().enumerate() {
        let claims = tokens::claims(&format!("adam-{n}"), &t.clock).with(name, value);
        t.with_token(&claims.sign(SECRET)).get("/admin/users").await.expect(200);
    }
}

async fn user_deactivation_takes_effect_immediately(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    for _ in 0..3 {
        amy.get("/app/users/me").await.expect(200);
        assert_eq!(act(&admin, "amy", "deactivate").await.expect(200)["is_active"], false);
        amy.get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
        assert_eq!(act(&admin, "amy", "deactivate").await.expect(200)["is_active"], false, "a repeated deactivation has no effect");
        assert_eq!(act(&admin, "amy", "activate").await.expect(200)["is_active"], true);
        amy.get("/app/users/me").await.expect(200);
        admin.patch("/admin/users/amy", json!({"is_active": false})).await.expect(200);
        amy.get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
        admin.patch("/admin/users/amy", json!({"is_active": true})).await.expect(200);
    }
}

async fn user_role_change_takes_effect_immediately(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    for _ in 0..3 {
        amy.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
        set_role(&admin, "amy", "admin").await.expect(200);
        amy.get("/admin/users").await.expect(200);
        set_role(&admin, "amy", "user").await.expect(200);
    }
    amy.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
}

async fn deactivated_admin_any_admin_request_returns_403(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.user_with_role("the-admin", "superadmin").await;
    let by_row = t.user_with_role("by-row", "superadmin").await;
    let by_claim = claiming(&t, "by-claim", "superadmin").await;
    for (client, id) in [(&by_row, "by-row"), (&by_claim, "by-claim")] {
        client.get("/admin/users").await.expect(200);
        act(&admin, id, "deactivate").await.expect(200);
        for reply in [client.get("/admin/users").await, act(client, id, "activate").await, act(client, "the-admin", "deactivate").await] {
            reply.expect_error(403, "AUTHORIZATION_ERROR");
        }
    }
    assert_eq!(admin.get("/admin/users?is_active=false").await.expect(200)["total"], 2);
}

async fn deactivation_without_redis_reaches_instances_in_5s(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    let there = other.with_token(amy.token.as_ref().unwrap());
    there.get("/app/users/me").await.expect(200);
    act(&admin, "amy", "deactivate").await.expect(200);
    t.clock.advance(TimeDelta::seconds(5));
    there.get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
    act(&admin, "amy", "activate").await.expect(200);
    t.clock.advance(TimeDelta::seconds(5));
    there.get("/app/users/me").await.expect(200);
}

async fn deactivation_with_redis_reaches_instances_in_1s(b: Backend) {
    let Some(redis) = services::redis() else { return };
    let prefix = format!("test-{}:", uuid::Uuid::now_v7());
    let vars = [("REDIS_URL", redis), ("REDIS_PREFIX", prefix.as_str())];
    let t = TestApp::with(b, &vars).await;
    let other = t.second(&vars).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    let there = other.with_token(amy.token.as_ref().unwrap());
    there.get("/app/users/me").await.expect(200);
    // The test clock does not advance, so the cached identity cannot expire.
    for (action, status) in [("deactivate", 403), ("activate", 200), ("deactivate", 403)] {
        act(&admin, "amy", action).await.expect(200);
        let since = Instant::now();
        while there.get("/app/users/me").await.status != status {
            assert!(since.elapsed() < Duration::from_secs(1), "{action} did not reach the other instance within one second");
        }
    }
}
