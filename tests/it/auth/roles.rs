//! Roles from token claims, for each issuer.

use serde_json::{Value, json};

use crate::harness::issuer::{Issuer, rsa_key};
use crate::harness::tokens::claims;
use crate::harness::{Backend, SECRET, TestApp};

crate::on_both_backends![role_is_the_higher_of_account_and_token, role_from_token_is_not_stored];

const ADMIN: [&str; 2] = ["admin", "superadmin"];

/// The top-level claim that puts `value` at the dotted path: name and value.
fn at(path: &str, value: &Value) -> (String, Value) {
    match path.split_once('.') {
        Some((outer, inner)) => (outer.to_owned(), json!({inner: value})),
        None => (path.to_owned(), value.clone()),
    }
}

/// Whether a new user whose token has `value` at `path` may call an admin route.
async fn is_admin(t: &TestApp, sign: impl Fn(&Value) -> String, n: usize, path: &str, value: &Value) -> bool {
    let (name, value) = at(path, value);
    let claims = claims(&format!("user-{n}"), &t.clock).with("aud", "authenticated".into()).with(&name, value.clone());
    let reply = t.with_token(&sign(&claims.body)).get("/admin/users").await;
    if reply.status == 403 {
        reply.expect_error(403, "AUTHORIZATION_ERROR");
        return false;
    }
    reply.expect(200);
    true
}

async fn believes(t: &TestApp, sign: impl Fn(&Value) -> String + Copy, trusted: &[&str]) {
    let paths = [
        "role",
        "user_role",
        "app_metadata.role",
        "public_metadata.role",
        "user_metadata.role",
        "user_metadata.user_role",
        "raw_user_meta_data.role",
        "unsafe_metadata.role",
        "metadata.role",
        "roles",
        "is_admin",
    ];
    let mut n = 0;
    for path in paths {
        for role in ADMIN {
            n += 1;
            assert_eq!(is_admin(t, sign, n, path, &json!(role)).await, trusted.contains(&path), "{path} = {role}");
        }
        for odd in [
            json!("Admin"),
            json!(" admin"),
            json!("root"),
            json!("user"),
            json!(""),
            json!(true),
            json!(["admin"]),
            json!({"role": "admin"}),
            Value::Null,
        ] {
            n += 1;
            assert!(!is_admin(t, sign, n, path, &odd).await, "{path} = {odd}");
        }
    }
}

#[tokio::test]
async fn supabase_role_comes_from_app_metadata_or_user_role() {
    let t =
        TestApp::with(Backend::Sqlite, &[("AUTH_PROVIDER", "supabase"), ("SUPABASE_JWT_SECRET", SECRET), ("OAUTH_JWT_SECRET", "")]).await;
    let sign = |body: &Value| {
        crate::harness::tokens::seal(&crate::harness::tokens::signed_part(r#"{"alg":"HS256"}"#, body.to_string()), SECRET.as_bytes())
    };
    believes(&t, sign, &["app_metadata.role", "user_role"]).await;
}

#[tokio::test]
async fn clerk_role_comes_from_public_metadata_or_top_level() {
    let issuer = Issuer::start(&[rsa_key(0).named("k")]).await;
    let t =
        TestApp::with(Backend::Sqlite, &[("AUTH_PROVIDER", "clerk"), ("CLERK_ISSUER_URL", &issuer.url), ("OAUTH_JWT_SECRET", "")]).await;
    let sign = |body: &Value| {
        let mut body = body.clone();
        body["iss"] = issuer.url.as_str().into();
        rsa_key(0).token("k", &body)
    };
    believes(&t, sign, &["public_metadata.role", "user_role", "role"]).await;
}

#[tokio::test]
async fn custom_role_comes_from_top_level_or_app_metadata() {
    let t = TestApp::start(Backend::Sqlite).await;
    let sign = |body: &Value| {
        crate::harness::tokens::seal(&crate::harness::tokens::signed_part(r#"{"alg":"HS256"}"#, body.to_string()), SECRET.as_bytes())
    };
    believes(&t, sign, &["role", "user_role", "app_metadata.role"]).await;
}

async fn role_is_the_higher_of_account_and_token(b: Backend) {
    let t = TestApp::start(b).await;
    t.user_with_role("boss", "superadmin").await;
    // A lower role in the token does not reduce the role of the account.
    let modest = t.with_token(&claims("boss", &t.clock).with("role", "user".into()).sign(SECRET));
    modest.get("/admin/users").await.expect(200);
    // Only a superadmin, by account or by token, can appoint superadmins.
    t.user("amy").await;
    modest.patch("/admin/users/amy", json!({"role": "superadmin"})).await.expect(200);
    modest.patch("/admin/users/amy", json!({"role": "user"})).await.expect(200);
    let mut both = claims("mid", &t.clock).with("role", "user".into());
    both = both.with("user_role", "superadmin".into()).with("app_metadata", json!({"role": "admin"}));
    t.with_token(&both.sign(SECRET)).patch("/admin/users/amy", json!({"role": "superadmin"})).await.expect(200);
    let admin = claims("low", &t.clock).with("role", "admin".into()).sign(SECRET);
    t.with_token(&admin).patch("/admin/users/amy", json!({"role": "user"})).await.expect_error(403, "AUTHORIZATION_ERROR");
}

async fn role_from_token_is_not_stored(b: Backend) {
    let t = TestApp::start(b).await;
    let token = claims("amy", &t.clock).with("role", "superadmin".into()).sign(SECRET);
    t.with_token(&token).get("/admin/users").await.expect(200);
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE id = 'amy' AND role = 'user'").await, 1);
    // A later token without the claim has the role `user`.
    t.user("amy").await.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
}
