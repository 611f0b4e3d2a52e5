//! Account recovery: verification links, password reset and password change.

use chrono::TimeDelta;
use futures_util::future::join_all;
use omnistack::app::jobs::New;
use serde_json::{Value, json};

use crate::harness::accounts::{PASSWORD, token_of};
use crate::harness::{Backend, Reply, TestApp};

crate::on_both_backends![
    verification_link_reused_or_after_24h_returns_400,
    verification_link_resent_invalidates_older_link,
    reset_link_within_one_hour_replaces_password,
    recovery_request_unknown_address_returns_same_202,
    reset_requests_concurrent_send_one_email,
    reset_link_with_weak_password_stays_usable,
    reset_link_used_concurrently_succeeds_once,
    recovery_link_for_other_purpose_returns_400,
    recovery_link_with_spoofed_host_uses_configured_base_url,
    recovery_link_opened_by_get_keeps_token_unused,
    account_email_job_rerun_sends_same_link,
    reset_link_deactivated_user_is_neither_sent_nor_accepted,
    reset_user_from_other_issuer_sets_first_password,
    change_password_success_ends_other_sessions,
    change_password_wrong_current_returns_400_then_429,
    database_after_account_flows_contains_no_secret,
];

const NEW: &str = "another unusual one";

async fn post(t: &TestApp, path: &str, body: Value) -> Reply {
    t.anonymous().post(&format!("/public/auth/{path}"), body).await
}

async fn forgot(t: &TestApp, email: &str) -> Reply {
    post(t, "forgot-password", json!({"email": email})).await
}

async fn reset(t: &TestApp, token: &str, password: &str) -> Reply {
    post(t, "reset-password", json!({"token": token, "password": password})).await
}

async fn verification_link_reused_or_after_24h_returns_400(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    for (email, age, status) in [("ada@example.test", 23, 200), ("bea@example.test", 24, 400)] {
        t.register(email).await;
        let token = t.mailed_token(email, "verify_email").await;
        t.clock.advance(TimeDelta::hours(age));
        assert_eq!(post(&t, "verify-email", json!({"token": token})).await.status, status);
        post(&t, "verify-email", json!({"token": token})).await.expect_error(400, "BAD_REQUEST");
    }
    assert_eq!(t.mails("ada@example.test", "welcome").await.len(), 1);
    assert_eq!(t.mails("bea@example.test", "welcome").await.len(), 0);
    for junk in ["", "x", &"A".repeat(43), &"A".repeat(100_000)] {
        post(&t, "verify-email", json!({"token": junk})).await.expect_error(400, "BAD_REQUEST");
    }
    post(&t, "verify-email", json!({})).await.expect_error(422, "VALIDATION_ERROR");
    // A verified address gets no further link.
    post(&t, "resend-verification", json!({"email": "ada@example.test"})).await.expect(202);
    assert_eq!(t.mails("ada@example.test", "verify_email").await.len(), 1);
}

async fn verification_link_resent_invalidates_older_link(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let first = t.mailed_token("ada@example.test", "verify_email").await;
    t.minutes_pass(1);
    post(&t, "resend-verification", json!({"email": " ADA@example.test"})).await.expect(202);
    let second = t.mailed_token("ada@example.test", "verify_email").await;
    post(&t, "verify-email", json!({"token": first})).await.expect_error(400, "BAD_REQUEST");
    post(&t, "verify-email", json!({"token": second})).await.expect(200);
}

async fn reset_link_within_one_hour_replaces_password(b: Backend) {
    let t = TestApp::with_accounts(b, &[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    post(&t, "register", json!({"email": "ada@example.test", "password": PASSWORD})).await.expect(202);
    forgot(&t, "Ada@Example.test").await.expect(202);
    let late = t.mailed_token("ada@example.test", "password_reset").await;
    t.minutes_pass(60);
    reset(&t, &late, NEW).await.expect_error(400, "BAD_REQUEST");
    forgot(&t, "ada@example.test").await.expect(202);
    let token = t.mailed_token("ada@example.test", "password_reset").await;
    t.minutes_pass(59);
    let answer = reset(&t, &token, NEW).await.expect(200);
    assert!(answer["message"].is_string() && answer.get("access_token").is_none(), "{answer}");
    // The reset also verifies the address and sends the change notice and the welcome e-mail.
    t.try_login("ada@example.test", PASSWORD).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.try_login("ada@example.test", NEW).await.expect(200);
    for template in ["password_changed", "welcome"] {
        assert_eq!(t.mails("ada@example.test", template).await.len(), 1, "{template}");
    }
    reset(&t, &token, "a third unusual one").await.expect_error(400, "BAD_REQUEST");
}

async fn recovery_request_unknown_address_returns_same_202(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    t.mails("ada@example.test", "verify_email").await;
    for path in ["forgot-password", "resend-verification"] {
        let known = post(&t, path, json!({"email": "ada@example.test"})).await;
        let unknown = post(&t, path, json!({"email": "nobody@example.test"})).await;
        let nonsense = post(&t, path, json!({"email": "no address at all"})).await;
        assert_eq!((known.status.as_u16(), &known.body), (202, &unknown.body), "{path}");
        assert_eq!((nonsense.status, &nonsense.body), (known.status, &known.body));
        post(&t, path, json!({"email": "ada\0@example.test"})).await.expect_error(422, "VALIDATION_ERROR");
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE status = 'queued'").await, 6, "one job per request, also for unknown addresses");
    assert_eq!(t.mails("ada@example.test", "password_reset").await.len(), 1);
    assert_eq!(t.mails("ada@example.test", "verify_email").await.len(), 2);
    let all = t.anonymous().get("//dev/mailbox.json").await.expect(200);
    assert_eq!(all["total"], 3, "only the registered address receives e-mail");
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE status <> 'done'").await, 0);
}

async fn reset_requests_concurrent_send_one_email(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let replies = join_all((0..20).map(|_| forgot(&t, "ada@example.test"))).await;
    assert!(replies.iter().all(|reply| reply.status == 202));
    assert_eq!(t.mails("ada@example.test", "password_reset").await.len(), 1);
}

async fn reset_link_with_weak_password_stays_usable(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    forgot(&t, "ada@example.test").await.expect(202);
    let token = t.mailed_token("ada@example.test", "password_reset").await;
    for weak in ["short", "password1", "ada@example.test", "nul\0-in-it", "Summer2025"] {
        let details = reset(&t, &token, weak).await.expect_error(422, "VALIDATION_ERROR");
        assert_eq!(details["field"], "password", "{weak}");
    }
    ada.client.get("/app/users/me").await.expect(200);
    reset(&t, &token, NEW).await.expect(200);
    ada.client.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn reset_link_used_concurrently_succeeds_once(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    forgot(&t, "ada@example.test").await.expect(202);
    let token = t.mailed_token("ada@example.test", "password_reset").await;
    let passwords: Vec<String> = (0..10).map(|n| format!("unusual one number {n}")).collect();
    let replies = join_all(passwords.iter().map(|password| reset(&t, &token, password))).await;
    let won: Vec<usize> = (0..10).filter(|n| replies[*n].status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(replies.iter().all(|reply| matches!(reply.status.as_u16(), 200 | 400)));
    t.try_login("ada@example.test", &passwords[won[0]]).await.expect(200);
    assert_eq!(t.mails("ada@example.test", "password_changed").await.len(), 1);
}

async fn recovery_link_for_other_purpose_returns_400(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    forgot(&t, "ada@example.test").await.expect(202);
    let (verify, reset_token) =
        (t.mailed_token("ada@example.test", "verify_email").await, t.mailed_token("ada@example.test", "password_reset").await);
    reset(&t, &verify, NEW).await.expect_error(400, "BAD_REQUEST");
    post(&t, "verify-email", json!({"token": reset_token})).await.expect_error(400, "BAD_REQUEST");
    post(&t, "verify-email", json!({"token": verify})).await.expect(200);
    reset(&t, &reset_token, NEW).await.expect(200);
}

async fn recovery_link_with_spoofed_host_uses_configured_base_url(b: Backend) {
    for (vars, base) in [
        (&[("AUTH_LINK_BASE_URL", "https://app.example.com/en/"), ("PUBLIC_BASE_URL", "https://api.example.com")][..], "https://app.example.com/en"),
        (&[("PUBLIC_BASE_URL", "https://api.example.com")], "https://api.example.com"),
        (&[("PORT", "8123")], "http://localhost:8123"),
    ] {
        let t = TestApp::with_accounts(b, vars).await;
        let evil = |call: crate::harness::Call| call.header("host", "evil.example").header("x-forwarded-host", "evil.example").header("origin", "https://evil.example");
        evil(t.anonymous().post("/public/auth/register", json!({"email": "ada@example.test", "password": PASSWORD}))).await.expect(201);
        evil(t.anonymous().post("/public/auth/forgot-password", json!({"email": "ada@example.test"}))).await.expect(202);
        for (template, path) in [("verify_email", "/verify-email"), ("password_reset", "/reset-password")] {
            let mail = t.mails("ada@example.test", template).await.remove(0);
            let link = format!("{base}{path}?token={}", token_of(&mail));
            assert!(mail["text"].as_str().unwrap().contains(&link), "{link}: {mail}");
            assert!(!mail.to_string().contains("evil"), "{mail}");
        }
    }
}

async fn recovery_link_opened_by_get_keeps_token_unused(b: Backend) {
    let t = TestApp::with_accounts(b, &[("PROJECT_NAME", "Acme & <Co>")]).await;
    t.register("ada@example.test").await;
    let token = t.mailed_token("ada@example.test", "verify_email").await;
    for path in ["verify-email", "reset-password"] {
        let page = t.anonymous().get(&format!("//{path}?token={token}")).await;
        let policy = page.header("content-security-policy").unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!((page.header("referrer-policy"), page.header("cache-control")), (Some("no-referrer"), Some("no-store")));
        let html = page.expect_text(200);
        assert!(html.contains("Acme &amp; &lt;Co&gt;") && html.contains(&format!("data-path=\"api&#x2f;v1&#x2f;public&#x2f;auth&#x2f;{path}\"")), "{html}");
        assert!(!html.contains(&token), "the page does not contain the token");
    }
    post(&t, "verify-email", json!({"token": token})).await.expect(200);
    // The pages are not served if a separate front end handles the links or if the issuer is external.
    for elsewhere in [TestApp::with_accounts(b, &[("AUTH_LINK_BASE_URL", "https://app.example.com")]).await, TestApp::start(b).await] {
        elsewhere.anonymous().get("//verify-email?token=x").await.expect_error(404, "NOT_FOUND");
    }
}

async fn account_email_job_rerun_sends_same_link(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let first = t.mailed_token("ada@example.test", "verify_email").await;
    // Simulates a crash after the e-mail was sent and before the job was marked as done.
    t.sql("UPDATE jobs SET status = 'queued', run_at = enqueue_time, finish_time = NULL, success = NULL, result = NULL").await;
    let second = t.mailed_token("ada@example.test", "verify_email").await;
    assert_eq!((t.number("SELECT CAST(attempts AS BIGINT) FROM jobs").await, first.as_str()), (2, second.as_str()));
    post(&t, "verify-email", json!({"token": second})).await.expect(200);
    // Once the token is used, the job sends nothing.
    let again = "UPDATE jobs SET status = 'queued', finish_time = NULL, success = NULL, result = NULL WHERE function = 'send_account_email'";
    t.sql(again).await;
    t.run_jobs().await;
    let results = t.texts("SELECT CAST(result AS TEXT) FROM jobs WHERE function = 'send_account_email'").await;
    let result: Value = serde_json::from_str(&results[0]).unwrap();
    assert_eq!(result, json!({"message_id": null}));
}

async fn reset_link_deactivated_user_is_neither_sent_nor_accepted(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    forgot(&t, "ada@example.test").await.expect(202);
    let token = t.mailed_token("ada@example.test", "password_reset").await;
    omnistack::features::users::service::operator::set_active(&t.app, &ada.id, false).await.unwrap();
    reset(&t, &token, NEW).await.expect_error(400, "BAD_REQUEST");
    forgot(&t, "ada@example.test").await.expect(202);
    assert_eq!(t.mails("ada@example.test", "password_reset").await.len(), 1);
    omnistack::features::users::service::operator::set_active(&t.app, &ada.id, true).await.unwrap();
    reset(&t, &token, NEW).await.expect_error(400, "BAD_REQUEST");
    t.login("ada@example.test").await;
}

async fn reset_user_from_other_issuer_sets_first_password(b: Backend) {
    let t = TestApp::with_accounts(b, &[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    t.sql("INSERT INTO users (id, email, role, is_active, login_count) VALUES ('auth0|7', 'old@example.test', 'user', TRUE, 3)").await;
    post(&t, "resend-verification", json!({"email": "old@example.test"})).await.expect(202);
    assert_eq!(t.mails("old@example.test", "verify_email").await.len(), 0, "no local account exists yet");
    forgot(&t, "old@example.test").await.expect(202);
    let token = t.mailed_token("old@example.test", "password_reset").await;
    reset(&t, &token, PASSWORD).await.expect(200);
    assert_eq!(t.login("old@example.test").await.id, "auth0|7", "the user keeps the original id");
}

async fn change_password_success_ends_other_sessions(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let phone = t.login("ada@example.test").await;
    phone.client.get("/app/users/me").await.expect(200);
    forgot(&t, "ada@example.test").await.expect(202);
    let link = t.mailed_token("ada@example.test", "password_reset").await;
    ada.client.post("/app/auth/change-password", json!({"current_password": PASSWORD, "new_password": NEW})).await.expect(204);
    ada.client.get("/app/users/me").await.expect(200);
    t.refresh(&ada.refresh).await.expect(200);
    phone.client.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.refresh(&phone.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.try_login("ada@example.test", PASSWORD).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.try_login("ada@example.test", NEW).await.expect(200);
    reset(&t, &link, "a third unusual one").await.expect_error(400, "BAD_REQUEST");
    assert_eq!(t.mails("ada@example.test", "password_changed").await.len(), 1);
}

async fn change_password_wrong_current_returns_400_then_429(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let change = async |current: &str, new: &str| {
        ada.client.post("/app/auth/change-password", json!({"current_password": current, "new_password": new})).await
    };
    for weak in ["short", "password1", "Ada@example.test", "Password123!"] {
        assert_eq!(change(PASSWORD, weak).await.expect_error(422, "VALIDATION_ERROR")["field"], "new_password");
    }
    for _ in 0..10 {
        change("a wrong one", NEW).await.expect_error(400, "BAD_REQUEST");
    }
    // The limit on failed attempts also applies to a caller with a valid access token, which may be stolen.
    change(PASSWORD, NEW).await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    t.clock.advance(TimeDelta::minutes(14));
    change(PASSWORD, NEW).await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    t.anonymous().post("/app/auth/change-password", json!({})).await.expect_error(401, "AUTHENTICATION_ERROR");
    let ada = t.account(&t.refresh(&ada.refresh).await.expect(200));
    t.clock.advance(TimeDelta::seconds(75));
    let body = json!({"current_password": PASSWORD, "new_password": NEW});
    ada.client.post("/app/auth/change-password", body).await.expect(204);
}

async fn database_after_account_flows_contains_no_secret(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let session = t.refresh(&ada.refresh).await.expect(200);
    forgot(&t, "ada@example.test").await.expect(202);
    let secrets = [
        PASSWORD.to_owned(),
        ada.client.token.clone().unwrap(),
        ada.refresh.clone(),
        session["access_token"].as_str().unwrap().to_owned(),
        session["refresh_token"].as_str().unwrap().to_owned(),
        t.mailed_token("ada@example.test", "verify_email").await,
        t.mailed_token("ada@example.test", "password_reset").await,
        "verify-email?token".to_owned(),
    ];
    // A job that is enqueued by its function name stores no link either.
    t.app.jobs.enqueue_by_name(&t.app.db, "send_account_email", json!({"purpose": "reset_password", "email": "ada@example.test"}), New::default()).await.unwrap();
    t.run_jobs().await;
    let mut dump = String::new();
    for table in ["users", "credentials", "sessions", "one_time_tokens", "jobs", "idempotency_keys"] {
        for column in t.columns(table).await {
            dump += &t.texts(&format!("SELECT COALESCE(CAST({column} AS TEXT), '') FROM {table}")).await.join("\n");
        }
    }
    assert!(dump.contains("$argon2id$") && dump.contains("ada@example.test"));
    for secret in secrets {
        assert!(!dump.contains(&secret), "{secret}");
    }
}
