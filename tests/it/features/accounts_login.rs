//! Stories about logging in: one answer for every failure, and a limit on guesses that locks out no owner.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::accounts::PASSWORD;
use crate::harness::{Backend, Reply, TestApp, services};

crate::on_both_backends![
    every_failure_has_one_answer,
    a_login_is_counted_and_its_device_kept,
    a_deactivated_account_is_told_so_after_the_right_password_only,
    ten_wrong_guesses_are_enough,
    guesses_at_once_learn_no_more_than_one_after_another,
    a_reset_clears_the_owners_way,
    a_hash_of_another_cost_is_renewed,
    a_password_changed_during_a_login_is_not_let_in,
];

/// From one client address behind a proxy that is believed.
const BEHIND: [(&str, &str); 1] = [("TRUSTED_PROXIES", "127.0.0.0/8")];

async fn guess(t: &TestApp, email: &str, password: &str, from: &str) -> Reply {
    t.anonymous().post("/public/auth/login", json!({"email": email, "password": password})).header("x-forwarded-for", from).await
}

fn without_id(reply: &Reply) -> Value {
    let mut body = reply.json();
    body["error"].as_object_mut().unwrap().remove("request_id");
    body
}

async fn every_failure_has_one_answer(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    // A user of another issuer, from before a move: there, without a password.
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
        ("ada@example.test", &"x".repeat(500_000)),
        (&format!("{}@example.test", "x".repeat(100_000)), PASSWORD),
    ] {
        let reply = t.try_login(email, password).await;
        assert_eq!(without_id(&reply), without_id(&wrong), "{email:.40}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        reply.expect_error(401, "AUTHENTICATION_ERROR");
    }
    assert_eq!(wrong.json()["error"]["message"], "Invalid email or password");
    t.try_login("ada@example.test", "nul\0").await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(t.number("SELECT COUNT(*) FROM sessions").await, 1);
}

async fn a_login_is_counted_and_its_device_kept(b: Backend) {
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

async fn a_deactivated_account_is_told_so_after_the_right_password_only(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    t.sql("UPDATE users SET is_active = FALSE").await;
    t.try_login("ada@example.test", "a wrong one").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.try_login("ada@example.test", PASSWORD).await.expect_error(403, "AUTHORIZATION_ERROR");
    t.refresh(&ada.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(t.number("SELECT COUNT(*) FROM sessions").await, 1);
}

async fn ten_wrong_guesses_are_enough(b: Backend) {
    let t = TestApp::with_accounts(b, &BEHIND).await;
    t.register("ada@example.test").await;
    let (attacker, owner) = ("203.0.113.7", "198.51.100.1");
    for email in ["ada@example.test", "nobody@example.test"] {
        for n in 0..10 {
            // Spelled differently it is the same account.
            let spelled = if n % 2 == 0 { email.to_owned() } else { format!(" {}", email.to_uppercase()) };
            guess(&t, &spelled, "a wrong one", attacker).await.expect_error(401, "AUTHENTICATION_ERROR");
            t.clock.advance(TimeDelta::seconds(30));
        }
        for password in ["a wrong one", PASSWORD] {
            let refused = guess(&t, email, password, attacker).await;
            let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((585..=600).contains(&wait), "the first was five minutes ago: {wait}");
            refused.expect_error(429, "RATE_LIMIT_EXCEEDED");
        }
    }
    // Nobody else is kept out: neither the owner elsewhere, nor another account there.
    guess(&t, "ada@example.test", PASSWORD, owner).await.expect(200);
    guess(&t, "bea@example.test", "x", attacker).await.expect_error(401, "AUTHENTICATION_ERROR");
    // As each guess leaves the quarter of an hour, another one may be made.
    t.minutes_pass(10);
    guess(&t, "ada@example.test", PASSWORD, attacker).await.expect(200);
}

async fn guesses_at_once_learn_no_more_than_one_after_another(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let replies = join_all((0..40).map(|_| t.try_login("ada@example.test", "a wrong one"))).await;
    let told = replies.iter().filter(|reply| reply.status == 401).count();
    assert_eq!(told, 10);
    assert!(replies.iter().all(|reply| matches!(reply.status.as_u16(), 401 | 429)));
    // Right ones at once are no guesses.
    t.register("bea@example.test").await;
    let replies = join_all((0..40).map(|_| t.try_login("bea@example.test", PASSWORD))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
}

async fn a_reset_clears_the_owners_way(b: Backend) {
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

async fn a_hash_of_another_cost_is_renewed(b: Backend) {
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

async fn a_password_changed_during_a_login_is_not_let_in(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let body = json!({"current_password": PASSWORD, "new_password": "another unusual one"});
    let (_, changed) =
        tokio::join!(join_all((0..20).map(|_| t.try_login("ada@example.test", PASSWORD))), ada.client.post("/app/auth/change-password", body));
    changed.expect(204);
    // Whenever each of them came, none with the old password is in.
    let sessions = ada.client.get("/app/auth/sessions").await.expect(200);
    assert_eq!(sessions["items"].as_array().unwrap().len(), 1, "{sessions}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_share_redis_share_the_guesses() {
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
async fn what_happens_is_counted() {
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
