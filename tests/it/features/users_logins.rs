//! Login count and last login: which tokens count as a new login.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, SECRET, TestApp, tokens};

crate::on_both_backends![
    login_count_newer_token_increments_once,
    login_count_older_token_is_not_counted,
    login_count_token_issued_in_future_uses_its_iat,
    login_count_token_without_iat_counts_once_in_15_minutes,
    login_count_ordinary_request_does_not_write_user,
    login_count_concurrent_requests_increment_once,
    login_count_user_without_login_starts_at_one,
];

/// Token of amy, issued this many seconds from now; `None` omits `iat`.
fn token(t: &TestApp, issued: Option<i64>) -> String {
    let claims = tokens::claims("amy", &t.clock);
    match issued {
        Some(seconds) => claims.with("iat", json!(t.clock.now().timestamp() + seconds)),
        None => claims.without("iat"),
    }
    .sign(SECRET)
}

async fn visit(t: &TestApp, token: &str) {
    t.with_token(token).get("/app/users/me").await.expect(200);
}

/// Returns amy's login count and last login.
async fn logins(admin: &Client) -> (i64, DateTime<Utc>) {
    let amy = admin.get("/admin/users/amy").await.expect(200);
    (amy["login_count"].as_i64().unwrap(), serde_json::from_value(amy["last_login_at"].clone()).unwrap())
}

async fn login_count_newer_token_increments_once(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let first = token(&t, Some(-5));
    visit(&t, &first).await;
    let begun = t.clock.now();
    assert_eq!(logins(&admin).await, (1, begun));
    for minutes in [1, 10, 30] {
        t.clock.advance(TimeDelta::minutes(minutes));
        visit(&t, &first).await;
        assert_eq!(logins(&admin).await, (1, begun));
    }
    let second = token(&t, Some(-5));
    let signed_in = t.clock.now();
    for _ in 0..3 {
        visit(&t, &second).await;
        assert_eq!(logins(&admin).await, (2, signed_in));
        t.clock.advance(TimeDelta::minutes(1));
    }
    visit(&t, &first).await;
    assert_eq!(logins(&admin).await, (2, signed_in), "the older token does not count as a new login");
}

async fn login_count_older_token_is_not_counted(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    visit(&t, &token(&t, Some(-5))).await;
    let begun = t.clock.now();
    // Issued before the first request but used after it.
    for issued in [-600, -6, -1] {
        visit(&t, &token(&t, Some(issued))).await;
        assert_eq!(logins(&admin).await, (1, begun));
    }
    t.clock.advance(TimeDelta::seconds(10));
    visit(&t, &token(&t, Some(-1))).await;
    assert_eq!(logins(&admin).await, (2, t.clock.now()), "the issue time decides, not the age of the token");
}

async fn login_count_token_issued_in_future_uses_its_iat(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    visit(&t, &token(&t, Some(-5))).await;
    // The issuer's clock is a few seconds ahead.
    let ahead = token(&t, Some(5));
    let issued = DateTime::from_timestamp(t.clock.now().timestamp() + 5, 0).unwrap();
    for _ in 0..3 {
        visit(&t, &ahead).await;
        assert_eq!(logins(&admin).await, (2, issued));
    }
}

async fn login_count_token_without_iat_counts_once_in_15_minutes(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let undated = token(&t, None);
    visit(&t, &undated).await;
    let begun = t.clock.now();
    for minutes in [0, 5, 9] {
        t.clock.advance(TimeDelta::minutes(minutes));
        visit(&t, &undated).await;
        visit(&t, &token(&t, None)).await;
        assert_eq!(logins(&admin).await, (1, begun));
    }
    t.clock.advance(TimeDelta::minutes(1) + TimeDelta::microseconds(1));
    let again = t.clock.now();
    for _ in 0..3 {
        visit(&t, &undated).await;
        assert_eq!(logins(&admin).await, (2, again));
        t.clock.advance(TimeDelta::minutes(4));
    }
    // An `iat` of the wrong type is treated as missing.
    let odd = tokens::claims("amy", &t.clock).with("iat", json!("now")).sign(SECRET);
    visit(&t, &odd).await;
    assert_eq!(logins(&admin).await, (2, again));
}

async fn login_count_ordinary_request_does_not_write_user(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    let before = admin.get("/admin/users/amy").await.expect(200);
    // Any write would change `updated_at`.
    t.sql("UPDATE users SET updated_at = created_at WHERE id = 'amy'").await;
    for _ in 0..5 {
        t.clock.advance(TimeDelta::minutes(7));
        amy.get("/app/users/me").await.expect(200);
        let project = amy.project("x").await;
        amy.delete(&format!("/app/projects/{}", project["id"].as_str().unwrap())).await.expect(204);
        amy.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
    }
    assert_eq!(admin.get("/admin/users/amy").await.expect(200), before);
}

async fn login_count_concurrent_requests_increment_once(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let admin = t.admin().await;
    visit(&t, &token(&t, Some(-5))).await;
    visit(&other, &token(&t, Some(-5))).await;
    for count in 2..5 {
        t.clock.advance(TimeDelta::minutes(1));
        let token = token(&t, Some(-1));
        let at = t.clock.now();
        join_all((0..20).map(|n| visit(if n % 2 == 0 { &t } else { &other }, &token))).await;
        assert_eq!(logins(&admin).await, (count, at));
    }
}

async fn login_count_user_without_login_starts_at_one(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    t.sql("INSERT INTO users (id, email) VALUES ('amy', 'amy@example.test')").await;
    let before = admin.get("/admin/users/amy").await.expect(200);
    assert_eq!((&before["login_count"], &before["last_login_at"]), (&json!(0), &Value::Null));
    for _ in 0..2 {
        visit(&t, &token(&t, None)).await;
        assert_eq!(logins(&admin).await, (1, t.clock.now()));
    }
}
