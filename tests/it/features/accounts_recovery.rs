//! Stories about links in mails and new passwords: for whoever reads the mail, once, and nobody learns who has an account.

use chrono::TimeDelta;
use futures_util::future::join_all;
use omnistack::app::jobs::New;
use serde_json::{Value, json};

use crate::harness::accounts::{PASSWORD, token_of};
use crate::harness::{Backend, Reply, TestApp};

crate::on_both_backends![
    an_address_is_verified_once_within_a_day,
    a_newer_link_ends_the_older_ones,
    a_forgotten_password_is_replaced_within_an_hour,
    nobody_learns_who_has_an_account,
    twenty_requests_are_one_mail,
    a_refused_password_does_not_use_the_link_up,
    ten_uses_at_once_are_one,
    links_serve_their_own_purpose,
    links_lead_where_the_configuration_says,
    a_link_that_is_merely_opened_does_nothing,
    a_mail_sent_again_holds_the_same_link,
    a_deactivated_user_gets_no_link_and_can_use_none,
    whoever_came_from_another_issuer_gets_a_password_by_mail,
    a_new_password_ends_the_other_sessions,
    a_change_asks_for_the_present_password,
    nothing_secret_is_in_the_database,
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

async fn an_address_is_verified_once_within_a_day(b: Backend) {
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
    // Who is verified gets no further link.
    post(&t, "resend-verification", json!({"email": "ada@example.test"})).await.expect(202);
    assert_eq!(t.mails("ada@example.test", "verify_email").await.len(), 1);
}

async fn a_newer_link_ends_the_older_ones(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let first = t.mailed_token("ada@example.test", "verify_email").await;
    t.minutes_pass(1);
    post(&t, "resend-verification", json!({"email": " ADA@example.test"})).await.expect(202);
    let second = t.mailed_token("ada@example.test", "verify_email").await;
    post(&t, "verify-email", json!({"token": first})).await.expect_error(400, "BAD_REQUEST");
    post(&t, "verify-email", json!({"token": second})).await.expect(200);
}

async fn a_forgotten_password_is_replaced_within_an_hour(b: Backend) {
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
    // Verified by the way, told, and greeted.
    t.try_login("ada@example.test", PASSWORD).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.try_login("ada@example.test", NEW).await.expect(200);
    for template in ["password_changed", "welcome"] {
        assert_eq!(t.mails("ada@example.test", template).await.len(), 1, "{template}");
    }
    reset(&t, &token, "a third unusual one").await.expect_error(400, "BAD_REQUEST");
}

async fn nobody_learns_who_has_an_account(b: Backend) {
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
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE status = 'queued'").await, 6, "each is one row, whoever it is for");
    assert_eq!(t.mails("ada@example.test", "password_reset").await.len(), 1);
    assert_eq!(t.mails("ada@example.test", "verify_email").await.len(), 2);
    let all = t.anonymous().get("//dev/mailbox.json").await.expect(200);
    assert_eq!(all["total"], 3, "nobody else was written to");
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE status <> 'done'").await, 0);
}

async fn twenty_requests_are_one_mail(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let replies = join_all((0..20).map(|_| forgot(&t, "ada@example.test"))).await;
    assert!(replies.iter().all(|reply| reply.status == 202));
    assert_eq!(t.mails("ada@example.test", "password_reset").await.len(), 1);
}

async fn a_refused_password_does_not_use_the_link_up(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    forgot(&t, "ada@example.test").await.expect(202);
    let token = t.mailed_token("ada@example.test", "password_reset").await;
    for weak in ["short", "password1", "ada@example.test", "nul\0-in-it"] {
        let details = reset(&t, &token, weak).await.expect_error(422, "VALIDATION_ERROR");
        assert_eq!(details["field"], "password", "{weak}");
    }
    ada.client.get("/app/users/me").await.expect(200);
    reset(&t, &token, NEW).await.expect(200);
    ada.client.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn ten_uses_at_once_are_one(b: Backend) {
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

async fn links_serve_their_own_purpose(b: Backend) {
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

async fn links_lead_where_the_configuration_says(b: Backend) {
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

async fn a_link_that_is_merely_opened_does_nothing(b: Backend) {
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
        assert!(!html.contains(&token), "what is in the address stays there");
    }
    post(&t, "verify-email", json!({"token": token})).await.expect(200);
    // A front end of one's own takes the links, and a stranger's issuer sends none.
    for elsewhere in [TestApp::with_accounts(b, &[("AUTH_LINK_BASE_URL", "https://app.example.com")]).await, TestApp::start(b).await] {
        elsewhere.anonymous().get("//verify-email?token=x").await.expect_error(404, "NOT_FOUND");
    }
}

async fn a_mail_sent_again_holds_the_same_link(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    let first = t.mailed_token("ada@example.test", "verify_email").await;
    // As after a crash between the hand-over and the end of the job.
    t.sql("UPDATE jobs SET status = 'queued', run_at = enqueue_time, finish_time = NULL, success = NULL, result = NULL").await;
    let second = t.mailed_token("ada@example.test", "verify_email").await;
    assert_eq!((t.number("SELECT CAST(attempts AS BIGINT) FROM jobs").await, first.as_str()), (2, second.as_str()));
    post(&t, "verify-email", json!({"token": second})).await.expect(200);
    // Once it was used there is nothing left to send.
    let again = "UPDATE jobs SET status = 'queued', finish_time = NULL, success = NULL, result = NULL WHERE function = 'send_account_email'";
    t.sql(again).await;
    t.run_jobs().await;
    let results = t.texts("SELECT CAST(result AS TEXT) FROM jobs WHERE function = 'send_account_email'").await;
    let result: Value = serde_json::from_str(&results[0]).unwrap();
    assert_eq!(result, json!({"message_id": null}));
}

async fn a_deactivated_user_gets_no_link_and_can_use_none(b: Backend) {
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

async fn whoever_came_from_another_issuer_gets_a_password_by_mail(b: Backend) {
    let t = TestApp::with_accounts(b, &[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    t.sql("INSERT INTO users (id, email, role, is_active, login_count) VALUES ('auth0|7', 'old@example.test', 'user', TRUE, 3)").await;
    post(&t, "resend-verification", json!({"email": "old@example.test"})).await.expect(202);
    assert_eq!(t.mails("old@example.test", "verify_email").await.len(), 0, "there is no account yet whose address could be verified");
    forgot(&t, "old@example.test").await.expect(202);
    let token = t.mailed_token("old@example.test", "password_reset").await;
    reset(&t, &token, PASSWORD).await.expect(200);
    assert_eq!(t.login("old@example.test").await.id, "auth0|7", "the id stays");
}

async fn a_new_password_ends_the_other_sessions(b: Backend) {
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

async fn a_change_asks_for_the_present_password(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let change = async |current: &str, new: &str| {
        ada.client.post("/app/auth/change-password", json!({"current_password": current, "new_password": new})).await
    };
    for weak in ["short", "password1", "Ada@example.test"] {
        assert_eq!(change(PASSWORD, weak).await.expect_error(422, "VALIDATION_ERROR")["field"], "new_password");
    }
    for _ in 0..10 {
        change("a wrong one", NEW).await.expect_error(400, "BAD_REQUEST");
    }
    // Whoever holds a stolen token guesses no better than anybody else.
    change(PASSWORD, NEW).await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    t.clock.advance(TimeDelta::minutes(14));
    change(PASSWORD, NEW).await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    t.anonymous().post("/app/auth/change-password", json!({})).await.expect_error(401, "AUTHENTICATION_ERROR");
    let ada = t.account(&t.refresh(&ada.refresh).await.expect(200));
    t.clock.advance(TimeDelta::seconds(75));
    let body = json!({"current_password": PASSWORD, "new_password": NEW});
    ada.client.post("/app/auth/change-password", body).await.expect(204);
}

async fn nothing_secret_is_in_the_database(b: Backend) {
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
    // By hand, too, an administrator sees no link.
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
