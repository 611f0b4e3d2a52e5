//! Access tokens that the service issues itself (`AUTH_PROVIDER=local`).

use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use omnistack::features::{accounts, users};
use omnistack::platform::auth::{Role, own};
use omnistack::platform::id::UserId;
use serde_json::{Value, json};

use crate::harness::accounts::LOCAL;
use crate::harness::tokens::claims;
use crate::harness::{Backend, SECRET, TestApp};

crate::on_both_backends![
    local_token_authenticates_until_it_expires,
    local_token_of_missing_account_is_refused,
    local_token_role_follows_the_account
];

const PURPOSE: &str = "access-token";

async fn account(t: &TestApp, email: &str, role: Role) -> String {
    let user = users::service::operator::find_or_create(&t.app, email, role).await.unwrap();
    accounts::service::operator::token(&t.app, &user).await.unwrap().unwrap()
}

async fn local_token_authenticates_until_it_expires(b: Backend) {
    let t = TestApp::with(b, &LOCAL).await;
    let token = account(&t, "Amy@Example.test ", Role::User).await;
    let amy = t.with_token(&token);
    for _ in 0..3 {
        assert_eq!(amy.get("/app/users/me").await.expect(200)["email"], "amy@example.test");
        t.clock.advance(TimeDelta::minutes(4));
    }
    // Using a token does not count as a login; only a password login does.
    assert_eq!(t.number("SELECT SUM(login_count) FROM users").await, 0);
    t.clock.advance(TimeDelta::minutes(4));
    amy.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn local_token_of_missing_account_is_refused(b: Backend) {
    let t = TestApp::with(b, &LOCAL).await;
    let life = std::time::Duration::from_secs(900);
    let ghost = own::mint(
        &t.app.keys,
        &UserId::parse("ghost").unwrap(),
        "ghost@example.test",
        "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d",
        t.clock.now(),
        life,
    )
    .unwrap();
    for path in ["/app/users/me", "/admin/users"] {
        let reply = t.with_token(&ghost).get(path).await;
        assert_eq!(reply.json()["error"]["message"], "Invalid token");
        reply.expect_error(401, "AUTHENTICATION_ERROR");
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 0);
}

async fn local_token_role_follows_the_account(b: Backend) {
    let t = TestApp::with(b, &LOCAL).await;
    let (amy, ada) = (account(&t, "amy@example.test", Role::User).await, account(&t, "ada@example.test", Role::Admin).await);
    t.with_token(&amy).get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
    let list = t.with_token(&ada).get("/admin/users").await.expect(200);
    let amys_id = list["items"].as_array().unwrap().iter().find(|user| user["email"] == "amy@example.test").unwrap()["id"].clone();
    let path = format!("/admin/users/{}", amys_id.as_str().unwrap());
    t.with_token(&ada).patch(&path, json!({"role": "admin"})).await.expect(200);
    t.with_token(&amy).get("/admin/users").await.expect(200);
    t.with_token(&ada).patch(&path, json!({"is_active": false})).await.expect(200);
    t.with_token(&amy).get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
    let gone = users::service::operator::find_or_create(&t.app, "amy@example.test", Role::User).await.unwrap();
    assert_eq!(accounts::service::operator::token(&t.app, &gone).await.unwrap(), None);
}

#[tokio::test]
async fn local_token_with_wrong_type_key_or_claims_is_refused() {
    let t = TestApp::with(Backend::Sqlite, &LOCAL).await;
    let amy = t.register("amy@example.test").await;
    let session = t.texts("SELECT id FROM sessions").await.remove(0);
    let body = claims(&amy.id, &t.clock).with("iss", own::ISSUER.into()).with("aud", own::AUDIENCE.into()).with("sid", session.into()).body;
    let sign = |typ: Option<&str>, key: &[u8], body: &Value| {
        let header = Header { typ: typ.map(str::to_owned), ..Header::new(Algorithm::HS256) };
        encode(&header, body, &EncodingKey::from_secret(key)).unwrap()
    };
    let key = t.app.keys.derive(PURPOSE);
    t.with_token(&sign(Some(own::TYPE), &key, &body)).get("/app/users/me").await.expect(200);
    for typ in [None, Some("JWT"), Some("rt+jwt"), Some("AT+JWT "), Some("")] {
        t.with_token(&sign(typ, &key, &body)).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    let service_secret = b"a-service-secret-for-tests-of-32-characters";
    for key in [t.app.keys.derive("idempotency-answer").as_slice(), service_secret, SECRET.as_bytes(), b""] {
        t.with_token(&sign(Some(own::TYPE), key, &body)).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    for (name, value) in [
        ("iss", json!("other")),
        ("aud", json!("other")),
        ("aud", Value::Null),
        ("iss", Value::Null),
        ("sid", Value::Null),
        ("sid", json!("other")),
    ] {
        let mut body = body.clone();
        body[name] = value;
        t.with_token(&sign(Some(own::TYPE), &key, &body)).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    }
}

#[tokio::test]
async fn local_token_of_other_secret_key_is_refused() {
    let t = TestApp::with(Backend::Sqlite, &LOCAL).await;
    let token = account(&t, "amy@example.test", Role::User).await;
    let vars: Vec<_> = LOCAL.into_iter().chain([("SECRET_KEY", "the-service-secret-of-another-installation")]).collect();
    let other = t.second(&vars).await;
    other.with_token(&token).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    let twin = t.second(&LOCAL).await;
    twin.with_token(&token).get("/app/users/me").await.expect(200);
}
