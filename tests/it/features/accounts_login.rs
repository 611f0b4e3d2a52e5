//! Login with a password: identical responses for every failure, and the limit on failed attempts.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::accounts::PASSWORD;
use crate::harness::{Backend, Reply, TestApp, services};

crate::on_both_backends![
    login_any_failure_returns_identical_401,
    login_success_increments_count_and_stores_device,
    login_deactivated_with_correct_password_returns_403,
    login_after_ten_failures_returns_429,
    login_concurrent_failures_stay_within_limit,
    login_rate_limited_after_reset_succeeds,
    login_after_fifty_failures_makes_new_addresses_wait,
    login_waits_double_and_reset_ends_them,
    login_guesses_at_once_from_many_addresses_stay_within_limit,
    login_failures_mail_owner_once_and_hide_accounts,
    change_password_guesses_of_one_session_are_limited,
    login_with_changed_argon2_cost_rehashes_password,
    login_concurrent_with_password_change_keeps_one_session,
];

/// Trusts the loopback proxy: `X-Forwarded-For` sets the client address.
const BEHIND: [(&str, &str); 1] = [("TRUSTED_PROXIES", "127.0.0.0/8")];

async fn guess(t: &TestApp, email: &str, password: &str, from: &str) -> Reply {
    t.anonymous().post("/public/auth/login", json!({"email": email, "password": password})).header("x-forwarded-for", from).await
}

fn without_id(reply: &Reply) -> Value {
    let mut body = reply.json();
    body["error"].as_object_mut().unwrap().remove("request_id");
    body
}

async fn login_any_failure_returns_identical_401(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    // A user created by another issuer: has a row in `users` but no password.
    t.sql("INSERT INTO users (id, email, role, is_active, login_count) VALUES ('old', 'old@example.test', 'user', TRUE, 0)").await;
    let wrong = t.try_login("ada@example.test", "a wrong one").await;
    for (email, password) in [
        ("nobody@example.test", PASSWORD),
        ("old@example.test", PASSWORD),
        ("old@example.test", ""),
        ("not an address", PASSWORD),
        ("", ""),
        ("ada@example.test", ""),
        ("ada@example.test", "A LONG AND UNUSUAL ONE"),
        ("ada@example.test", &"x".repeat(128)),
        (&format!("{}@example.test", "x".repeat(240)), PASSWORD),
    ] {
        let reply = t.try_login(email, password).await;
        assert_eq!(without_id(&reply), without_id(&wrong), "{email:.40}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        reply.expect_error(401, "AUTHENTICATION_ERROR");
    }
    assert_eq!(wrong.json()["error"]["message"], "Invalid email or password");
    // Bounded like a registration.
    for (email, password, field) in [
        ("ada@example.test", "x".repeat(129), "password"),
        ("ada@example.test", "x".repeat(500_000), "password"),
        ("ada@example.test", "nul\0".to_owned(), "password"),
        (&format!("{}@example.test", "x".repeat(250)), PASSWORD.to_owned(), "email"),
    ] {
        assert_eq!(t.try_login(email, &password).await.expect_error(422, "VALIDATION_ERROR")["field"], field);
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM sessions").await, 1);
}

async fn login_success_increments_count_and_stores_device(b: Backend) {
    let t = TestApp::with_accounts(b, &BEHIND).await;
    t.register("ada@example.test").await;
    t.minutes_pass(1);
    let agent = format!("Phone\u{9}{}", "x".repeat(400));
    let body = json!({"email": "Ada@Example.test", "password": PASSWORD});
    let call = t.anonymous().post("/public/auth/login", body).header("x-forwarded-for", "203.0.113.7").header("user-agent", agent);
    let ada = t.account(&call.await.expect(200));
    for _ in 0..3 {
        ada.client.get("/app/users/me").await.expect(200);
    }
    assert_eq!(t.number("SELECT CAST(login_count AS BIGINT) FROM users").await, 2);
    let sessions = ada.client.get("/app/auth/sessions").await.expect(200);
    let newest = &sessions["items"][0];
    assert_eq!((&newest["ip_address"], &newest["current"]), (&json!("203.0.113.7"), &json!(true)));
    let kept = newest["user_agent"].as_str().unwrap();
    assert!(kept.starts_with("Phone x") && kept.chars().count() == 255, "{kept}");
}

async fn login_deactivated_with_correct_password_returns_403(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    t.sql("UPDATE users SET is_active = FALSE").await;
    t.try_login("ada@example.test", "a wrong one").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.try_login("ada@example.test", PASSWORD).await.expect_error(403, "AUTHORIZATION_ERROR");
    t.refresh(&ada.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(t.number("SELECT COUNT(*) FROM sessions").await, 1);
}

async fn login_after_ten_failures_returns_429(b: Backend) {
    let t = TestApp::with_accounts(b, &BEHIND).await;
    t.register("ada@example.test").await;
    let (attacker, owner) = ("203.0.113.7", "198.51.100.1");
    for email in ["ada@example.test", "nobody@example.test"] {
        for n in 0..10 {
            // Upper case and surrounding spaces do not make another account.
            let spelled = if n % 2 == 0 { email.to_owned() } else { format!(" {}", email.to_uppercase()) };
            guess(&t, &spelled, "a wrong one", attacker).await.expect_error(401, "AUTHENTICATION_ERROR");
            t.clock.advance(TimeDelta::seconds(30));
        }
        for password in ["a wrong one", PASSWORD] {
            let refused = guess(&t, email, password, attacker).await;
            let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((585..=600).contains(&wait), "15 minutes minus the 5 since the first attempt: {wait}");
            refused.expect_error(429, "RATE_LIMIT_EXCEEDED");
        }
    }
    // The limit applies to one account from one address, not to other addresses or other accounts.
    guess(&t, "ada@example.test", PASSWORD, owner).await.expect(200);
    guess(&t, "bea@example.test", "x", attacker).await.expect_error(401, "AUTHENTICATION_ERROR");
    // Each failed attempt stops counting after 15 minutes.
    t.minutes_pass(10);
    guess(&t, "ada@example.test", PASSWORD, attacker).await.expect(200);
}

async fn login_concurrent_failures_stay_within_limit(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let replies = join_all((0..40).map(|_| t.try_login("ada@example.test", "a wrong one"))).await;
    let told = replies.iter().filter(|reply| reply.status == 401).count();
    assert_eq!(told, 10);
    assert!(replies.iter().all(|reply| matches!(reply.status.as_u16(), 401 | 429)));
    // Concurrent logins with the correct password are not limited.
    t.register("bea@example.test").await;
    let replies = join_all((0..40).map(|_| t.try_login("bea@example.test", PASSWORD))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
}

async fn login_rate_limited_after_reset_succeeds(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    for _ in 0..10 {
        t.try_login("ada@example.test", "a wrong one").await.expect(401);
    }
    t.try_login("ada@example.test", PASSWORD).await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    t.anonymous().post("/public/auth/forgot-password", json!({"email": "ada@example.test"})).await.expect(202);
    let token = t.mailed_token("ada@example.test", "password_reset").await;
    let body = json!({"token": token, "password": "another unusual one"});
    t.anonymous().post("/public/auth/reset-password", body).await.expect(200);
    t.try_login("ada@example.test", "another unusual one").await.expect(200);
}

/// Sends `count` wrong passwords, ten from each address.
async fn fail(t: &TestApp, email: &str, count: usize) {
    for n in 0..count {
        guess(t, email, "a wrong one", &format!("203.0.113.{}", n / 10)).await.expect_error(401, "AUTHENTICATION_ERROR");
    }
}

/// The seconds of a 429.
#[track_caller]
fn wait(reply: Reply) -> i64 {
    let seconds = reply.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(reply.expect_error(429, "RATE_LIMIT_EXCEEDED")["retry_after"], seconds);
    seconds
}

async fn login_after_fifty_failures_makes_new_addresses_wait(b: Backend) {
    let t = TestApp::with_accounts(b, &BEHIND).await;
    t.register("ada@example.test").await;
    let ada = t.account(&guess(&t, "ada@example.test", PASSWORD, "2001:db8::1").await.expect(200));
    fail(&t, "ada@example.test", 49).await;
    guess(&t, "ada@example.test", PASSWORD, "198.51.100.1").await.expect(200);
    guess(&t, "ada@example.test", "a wrong one", "203.0.113.9").await.expect_error(401, "AUTHENTICATION_ERROR");
    for (n, password) in ["a wrong one", PASSWORD].into_iter().enumerate() {
        assert_eq!(wait(guess(&t, "ada@example.test", password, &format!("192.0.2.{n}")).await), 60);
    }
    // Addresses that have logged in before go on, an IPv6 address with its network. So do open sessions.
    guess(&t, "ada@example.test", PASSWORD, "198.51.100.1").await.expect(200);
    guess(&t, "ada@example.test", PASSWORD, "2001:db8::ffff").await.expect(200);
    wait(guess(&t, "ada@example.test", PASSWORD, "2001:db8:0:1::1").await);
    guess(&t, "ada@example.test", "a wrong one", "198.51.100.1").await.expect_error(401, "AUTHENTICATION_ERROR");
    ada.client.get("/app/users/me").await.expect(200);
    t.refresh(&ada.refresh).await.expect(200);
    // Other accounts are not affected.
    t.register("bea@example.test").await;
    guess(&t, "bea@example.test", PASSWORD, "192.0.2.1").await.expect(200);
    t.minutes_pass(1);
    guess(&t, "ada@example.test", PASSWORD, "192.0.2.1").await.expect(200);
}

async fn login_waits_double_and_reset_ends_them(b: Backend) {
    let t = TestApp::with_accounts(b, &BEHIND).await;
    t.register("ada@example.test").await;
    fail(&t, "ada@example.test", 50).await;
    let mut waits = Vec::new();
    for n in 0..5 {
        waits.push(wait(guess(&t, "ada@example.test", PASSWORD, "192.0.2.1").await));
        t.clock.advance(TimeDelta::seconds(waits[n]));
        guess(&t, "ada@example.test", "a wrong one", &format!("192.0.2.{}", n + 2)).await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    assert_eq!(waits, [60, 120, 240, 480, 900]);
    assert_eq!(wait(guess(&t, "ada@example.test", PASSWORD, "192.0.2.1").await), 900);
    t.anonymous().post("/public/auth/forgot-password", json!({"email": "ada@example.test"})).await.expect(202);
    let token = t.mailed_token("ada@example.test", "password_reset").await;
    t.anonymous().post("/public/auth/reset-password", json!({"token": token, "password": "another unusual one"})).await.expect(200);
    guess(&t, "ada@example.test", "another unusual one", "192.0.2.1").await.expect(200);
}

async fn login_guesses_at_once_from_many_addresses_stay_within_limit(b: Backend) {
    let t = TestApp::with_accounts(b, &BEHIND).await;
    t.register("ada@example.test").await;
    let addresses: Vec<String> = (0..120).map(|n| format!("203.0.113.{n}")).collect();
    let replies = join_all(addresses.iter().map(|from| guess(&t, "ada@example.test", "a wrong one", from))).await;
    let told = replies.iter().filter(|reply| reply.status == 401).count();
    assert_eq!(told, 50);
    assert!(replies.iter().all(|reply| matches!(reply.status.as_u16(), 401 | 429)));
}

async fn login_failures_mail_owner_once_and_hide_accounts(b: Backend) {
    let t = TestApp::with_accounts(b, &BEHIND).await;
    t.anonymous().post("/public/auth/register", json!({"email": "ada@example.test", "password": PASSWORD, "full_name": "Ada"})).await.expect(201);
    for email in ["ada@example.test", "nobody@example.test"] {
        fail(&t, email, 50).await;
    }
    let known = guess(&t, "ada@example.test", PASSWORD, "192.0.2.1").await;
    let unknown = guess(&t, "nobody@example.test", PASSWORD, "192.0.2.1").await;
    assert_eq!((known.status, known.header("retry-after")), (unknown.status, unknown.header("retry-after")));
    assert_eq!(without_id(&known), without_id(&unknown));
    t.minutes_pass(1);
    guess(&t, "ada@example.test", "a wrong one", "192.0.2.1").await.expect(401);
    let mails = t.mails("ada@example.test", "failed_logins").await;
    assert_eq!((mails.len(), t.mails("nobody@example.test", "failed_logins").await.len()), (1, 0));
    assert!(!mails[0]["text"].as_str().unwrap().contains("Ada"), "{}", mails[0]);
    let kept = t.texts("SELECT account FROM login_failures").await;
    assert!(kept.len() == 2 && kept.iter().all(|account| account.len() == 32 && !account.contains('@')), "{kept:?}");
    t.clock.advance(TimeDelta::hours(25));
    t.app.jobs.enqueue_by_name(&t.app.db, "sweep_expired", json!({}), omnistack::app::jobs::New::default()).await.unwrap();
    t.run_jobs().await;
    assert_eq!(t.number("SELECT COUNT(*) FROM login_failures").await, 0);
}

async fn change_password_guesses_of_one_session_are_limited(b: Backend) {
    let t = TestApp::with_accounts(b, &BEHIND).await;
    let ada = t.register("ada@example.test").await;
    let phone = t.login("ada@example.test").await;
    let change = async |client: &crate::harness::Client, current: &str, from: &str| {
        let body = json!({"current_password": current, "new_password": "another unusual one"});
        client.post("/app/auth/change-password", body).header("x-forwarded-for", from).await
    };
    // A stolen token is used from many addresses.
    for n in 0..10 {
        change(&phone.client, "a wrong one", &format!("198.51.100.{n}")).await.expect_error(400, "BAD_REQUEST");
    }
    wait(change(&phone.client, PASSWORD, "198.51.100.99").await);
    // The owner's session is not affected, also while log-ins have to wait.
    fail(&t, "ada@example.test", 40).await;
    wait(guess(&t, "ada@example.test", PASSWORD, "192.0.2.1").await);
    change(&ada.client, PASSWORD, "192.0.2.1").await.expect(204);
}

async fn login_with_changed_argon2_cost_rehashes_password(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let dearer = t.second_with_accounts(&[("AUTH_ARGON2_MEMORY_KIB", "16")]).await;
    let hash = async || t.texts("SELECT password_hash FROM credentials").await.remove(0);
    assert!(hash().await.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
    dearer.try_login("ada@example.test", "a wrong one").await.expect(401);
    assert!(hash().await.contains("m=8,"));
    dearer.login("ada@example.test").await;
    let renewed = hash().await;
    assert!(renewed.contains("m=16,"), "{renewed}");
    dearer.login("ada@example.test").await;
    assert_eq!(hash().await, renewed);
    t.login("ada@example.test").await;
}

async fn login_concurrent_with_password_change_keeps_one_session(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let body = json!({"current_password": PASSWORD, "new_password": "another unusual one"});
    let (_, changed) =
        tokio::join!(join_all((0..20).map(|_| t.try_login("ada@example.test", PASSWORD))), ada.client.post("/app/auth/change-password", body));
    changed.expect(204);
    // In any order of the requests, no session opened with the old password remains.
    let sessions = ada.client.get("/app/auth/sessions").await.expect(200);
    assert_eq!(sessions["items"].as_array().unwrap().len(), 1, "{sessions}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_limit_with_shared_redis_spans_instances() {
    let Some(redis) = services::redis() else { return };
    let prefix = format!("test:{}:", uuid::Uuid::now_v7());
    let vars = [("REDIS_URL", redis), ("REDIS_PREFIX", prefix.as_str())];
    let t = TestApp::with_accounts(Backend::Sqlite, &vars).await;
    let other = t.second_with_accounts(&vars).await;
    t.register("ada@example.test").await;
    for n in 0..10 {
        let instance = if n % 2 == 0 { &t } else { &other };
        instance.try_login("ada@example.test", "a wrong one").await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    for instance in [&t, &other] {
        instance.try_login("ada@example.test", PASSWORD).await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    }
}

#[tokio::test]
async fn auth_metrics_after_each_event_are_exported() {
    let t = TestApp::with_accounts(Backend::Sqlite, &[]).await;
    let ada = t.register("ada@example.test").await;
    t.try_login("ada@example.test", "a wrong one").await.expect(401);
    t.login("ada@example.test").await;
    t.refresh(&ada.refresh).await.expect(200);
    ada.client.get("/app/users/me").await.expect(200);
    t.anonymous().post("/public/auth/logout", json!({"refresh_token": ada.refresh})).await.expect(204);
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    for name in [
        "auth_events_total{event=\"signup\",provider=\"local\"}",
        "auth_events_total{event=\"login\",provider=\"local\"}",
        "auth_events_total{event=\"failed\",provider=\"local\"}",
        "auth_events_total{event=\"token_refresh\",provider=\"local\"}",
        "auth_events_total{event=\"logout\",provider=\"local\"}",
        "auth_failures_total{reason=\"invalid_credentials\"}",
        "token_operations_total{operation=\"issued\"}",
        "token_operations_total{operation=\"verified\"}",
        "token_operations_total{operation=\"revoked\"}",
        "active_sessions 1",
    ] {
        assert!(page.contains(name), "{name}");
    }
    assert!(!page.contains("ada@example.test") && !page.contains(&ada.id));
}
