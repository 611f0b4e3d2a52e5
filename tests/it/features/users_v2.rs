//! The caller's own profile in version 2 (`/api/v2/app/users/me`): the envelope and its derived members.

use chrono::TimeDelta;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Backend, Reply, TestApp};

crate::on_both_backends![
    users_me_v2_wraps_the_profile_with_derived_members,
    users_me_v2_is_premium_by_plan_and_status,
    users_me_v2_patch_changes_the_profile_of_both_versions,
    users_me_v2_of_a_new_user_creates_it,
    users_me_v2_of_a_deactivated_user_returns_403,
    users_me_v2_shares_the_rate_limit_of_v1,
];
crate::on_sqlite![
    users_me_v2_names_the_request_id_of_the_client,
    users_me_v2_patch_out_of_bounds_returns_422,
    users_me_v2_errors_have_no_envelope,
];

const ME: &str = "//api/v2/app/users/me";

/// Checks the envelope and returns the data.
#[track_caller]
fn data(t: &TestApp, reply: Reply) -> Value {
    let id = reply.header("x-request-id").unwrap().to_owned();
    let mut body = reply.expect(200);
    assert_eq!(body["meta"], json!({"request_id": id, "timestamp": t.clock.now(), "version": "v2"}));
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    body["data"].take()
}

async fn users_me_v2_wraps_the_profile_with_derived_members(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let mut profile = amy.get("/app/users/me").await.expect(200);
    profile["is_premium"] = json!(false);
    profile["days_since_joined"] = json!(0);
    let first = amy.get(ME).await;
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!(data(&t, first), profile);
    // From the cached identity as well as from the row; whole days only.
    t.sql("UPDATE users SET full_name = 'Amy'").await;
    profile["full_name"] = json!("Amy");
    for (passed, days) in [(TimeDelta::hours(23), 0), (TimeDelta::hours(1), 1), (TimeDelta::days(400), 401), (TimeDelta::days(-500), 0)] {
        t.clock.advance(passed);
        profile["days_since_joined"] = json!(days);
        let token = crate::harness::tokens::claims("amy", &t.clock).sign(crate::harness::SECRET);
        assert_eq!(data(&t, t.with_token(&token).get(ME).await), profile);
    }
}

async fn users_me_v2_is_premium_by_plan_and_status(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for (plan, status, premium) in [
        ("'pro'", "'active'", true),
        ("'enterprise'", "'active'", true),
        ("'free'", "'active'", false),
        ("NULL", "'active'", false),
        ("'pro'", "'trialing'", false),
        ("'pro'", "'past_due'", false),
        ("'enterprise'", "'canceled'", false),
        ("'pro'", "NULL", false),
        ("NULL", "NULL", false),
    ] {
        t.sql(&format!("UPDATE users SET subscription_plan = {plan}, subscription_status = {status}")).await;
        assert_eq!(data(&t, amy.get(ME).await)["is_premium"], premium, "{plan} {status}");
    }
}

async fn users_me_v2_patch_changes_the_profile_of_both_versions(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for change in [
        json!({"full_name": "Amy Pond"}),
        json!({"avatar_url": "https://example.test/amy.png"}),
        json!({"full_name": null, "unknown": 1}),
        json!({}),
        json!({"role": "admin", "is_premium": true, "days_since_joined": 9}),
    ] {
        let changed = data(&t, amy.patch(ME, change.clone()).await);
        for member in ["full_name", "avatar_url"].iter().filter(|member| change.get(**member).is_some()) {
            assert_eq!(changed[member], change[member]);
        }
        assert_eq!((&changed["role"], &changed["is_premium"]), (&json!("user"), &json!(false)));
        assert_eq!(data(&t, amy.get(ME).await), changed);
        let first = amy.get("/app/users/me").await.expect(200);
        assert!(first.as_object().unwrap().iter().all(|(member, value)| changed[member] == *value), "{first}");
    }
}

async fn users_me_v2_of_a_new_user_creates_it(b: Backend) {
    let t = TestApp::start(b).await;
    let token = crate::harness::tokens::claims("amy", &t.clock).sign(crate::harness::SECRET);
    assert_eq!(data(&t, t.with_token(&token).get(ME).await)["id"], "amy");
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 1);
}

async fn users_me_v2_of_a_deactivated_user_returns_403(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    t.sql("UPDATE users SET is_active = FALSE").await;
    t.forget_identity("amy");
    amy.get(ME).await.expect_error(403, "AUTHORIZATION_ERROR");
    amy.patch(ME, json!({"full_name": "Amy"})).await.expect_error(403, "AUTHORIZATION_ERROR");
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE full_name IS NOT NULL").await, 0);
    t.sql("UPDATE users SET is_active = TRUE").await;
    t.forget_identity("amy");
    amy.get(ME).await.expect(200);
}

async fn users_me_v2_shares_the_rate_limit_of_v1(b: Backend) {
    let t = TestApp::with(b, &[("RATE_LIMIT_DEFAULT", "3/day")]).await;
    let amy = t.user("amy").await;
    for (path, left) in [(ME, "1"), ("/app/users/me", "0")] {
        assert_eq!(amy.get(path).await.header("x-ratelimit-remaining"), Some(left), "both versions share a budget");
    }
    amy.get(ME).await.expect_error(429, "RATE_LIMIT_EXCEEDED");
}

async fn users_me_v2_names_the_request_id_of_the_client(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for (sent, kept) in [("trace.1_2-3", true), ("a", true), ("a b", false), ("<script>", false)] {
        for call in [amy.get(ME), amy.patch(ME, json!({}))] {
            let reply = call.header("x-request-id", sent).await;
            assert_eq!(reply.header("x-request-id") == Some(sent), kept, "{sent}");
            data(&t, reply);
        }
    }
}

async fn users_me_v2_patch_out_of_bounds_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for (member, bad) in [
        ("full_name", json!("x".repeat(256))),
        ("full_name", json!("a\0b")),
        ("full_name", json!(5)),
        ("avatar_url", json!("ftp://example.test/amy.png")),
        ("avatar_url", json!("javascript:alert(1)")),
        ("avatar_url", json!(["https://example.test"])),
    ] {
        assert_eq!(amy.patch(ME, json!({member: bad})).await.expect_invalid(), [member], "{bad}");
    }
    amy.call(Method::PATCH, ME).body("application/json", "{").await.expect_error(400, "BAD_REQUEST");
    amy.call(Method::PATCH, ME).body("text/plain", "{}").await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(data(&t, amy.get(ME).await)["full_name"], Value::Null);
}

async fn users_me_v2_errors_have_no_envelope(b: Backend) {
    let t = TestApp::start(b).await;
    let reply = t.anonymous().get(ME).header("x-request-id", "trace-1").await;
    let body = reply.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["error"]);
    assert_eq!(body["error"]["request_id"], "trace-1");
    reply.expect_error(401, "AUTHENTICATION_ERROR");
    for method in [Method::DELETE, Method::PUT, Method::POST] {
        t.user("amy").await.call(method, ME).await.expect_error(405, "METHOD_NOT_ALLOWED");
    }
    // Only four operations exist below version 2.
    for path in ["/app/projects", "/admin/users", "/app/users", "/app/users/me/", "/public/metrics", "/public"] {
        t.user("amy").await.get(&format!("//api/v2{path}")).await.expect_error(404, "NOT_FOUND");
    }
}
