//! Registering an address that is registered but not verified: each password is bound to its own link, and the link that is used
//! decides. An attacker who registers another person's address gains nothing, before or after the owner does.

use chrono::TimeDelta;
use futures_util::future::join_all;
use omnistack::app::jobs::New;
use serde_json::{Value, json};

use crate::harness::accounts::{PASSWORD, token_of};
use crate::harness::{Backend, Reply, TestApp};

crate::on_both_backends![
    registered_again_answers_alike_and_links_decide,
    registered_again_link_sets_its_password_and_name,
    registered_again_first_link_ends_the_others,
    registered_again_links_used_at_once_succeed_once,
    registered_again_resend_mails_a_reset_link,
    registered_again_link_ends_sessions_of_the_first,
    registered_again_is_bounded_in_number_and_time,
    registered_again_deactivated_user_gets_no_link,
    registered_again_is_exported_and_erased,
];

const ADA: &str = "ada@example.test";
const ATTACKERS: &str = "an attacker chose this";
const OWNERS: &str = "the owner chose another";

async fn app(b: Backend) -> TestApp {
    TestApp::with_accounts(b, &[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await
}

async fn register(t: &TestApp, password: &str, name: Option<&str>) -> Reply {
    t.anonymous().post("/public/auth/register", json!({"email": ADA, "password": password, "full_name": name})).await
}

async fn post(t: &TestApp, path: &str, body: Value) -> Reply {
    t.anonymous().post(&format!("/public/auth/{path}"), body).await
}

async fn verify(t: &TestApp, token: &str) -> Reply {
    post(t, "verify-email", json!({"token": token})).await
}

/// Registers, and returns the token of the mail that follows.
async fn registered(t: &TestApp, password: &str, name: Option<&str>) -> String {
    register(t, password, name).await.expect(202);
    t.mailed_token(ADA, "verify_email").await
}

async fn registered_again_answers_alike_and_links_decide(b: Backend) {
    let t = app(b).await;
    let first = register(&t, ATTACKERS, Some("Eve")).await;
    let second = register(&t, OWNERS, Some("Ada")).await;
    let verified = post(&t, "register", json!({"email": "bea@example.test", "password": PASSWORD})).await;
    for reply in [&second, &verified] {
        assert_eq!((reply.status.as_u16(), &reply.body), (202, &first.body));
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 2);
    // Neither mail is missing, and neither ends the other's link.
    let mails = t.mails(ADA, "verify_email").await;
    assert_eq!((mails.len(), t.mails(ADA, "email_taken").await.len()), (2, 0));
    let warned = mails.iter().filter(|mail| mail["text"].as_str().unwrap().contains("registered more than once")).count();
    assert_eq!(warned, 1, "the second one");
    assert!(!mails.iter().any(|mail| mail.to_string().contains(OWNERS)));
    // Before a link is used, only the first password is the account's.
    t.try_login(ADA, ATTACKERS).await.expect_error(403, "AUTHORIZATION_ERROR");
    t.try_login(ADA, OWNERS).await.expect_error(401, "AUTHENTICATION_ERROR");
    // No row of the queue holds a password or a link.
    let kwargs = t.texts("SELECT CAST(kwargs AS TEXT) FROM jobs").await.join("\n");
    assert!(!kwargs.contains("argon2") && !kwargs.contains("token"), "{kwargs}");
}

async fn registered_again_link_sets_its_password_and_name(b: Backend) {
    let t = app(b).await;
    let attackers = registered(&t, ATTACKERS, Some("Eve")).await;
    t.minutes_pass(1);
    let owners = registered(&t, OWNERS, Some("Ada")).await;
    t.minutes_pass(1);
    let attackers_second = registered(&t, "one more try of the attacker", None).await;
    verify(&t, &owners).await.expect(200);
    let session = t.try_login(ADA, OWNERS).await.expect(200);
    assert_eq!((&session["user"]["full_name"], &session["user"]["email"]), (&json!("Ada"), &json!(ADA)));
    for password in [ATTACKERS, "one more try of the attacker"] {
        t.try_login(ADA, password).await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    for token in [&attackers, &attackers_second, &owners] {
        verify(&t, token).await.expect_error(400, "BAD_REQUEST");
    }
    t.try_login(ADA, OWNERS).await.expect(200);
    assert_eq!(t.number("SELECT COUNT(*) FROM registrations").await, 0);
    let welcome = t.mails(ADA, "welcome").await;
    assert!(welcome.len() == 1 && welcome[0]["text"].as_str().unwrap().contains("Ada"), "{welcome:?}");
    // From now on the address is taken.
    register(&t, ATTACKERS, None).await.expect(202);
    assert_eq!((t.mails(ADA, "email_taken").await.len(), t.mails(ADA, "verify_email").await.len()), (1, 3));
}

async fn registered_again_first_link_ends_the_others(b: Backend) {
    let t = app(b).await;
    let owners = registered(&t, OWNERS, Some("Ada")).await;
    t.minutes_pass(1);
    let attackers = registered(&t, ATTACKERS, Some("Eve")).await;
    verify(&t, &owners).await.expect(200);
    verify(&t, &attackers).await.expect_error(400, "BAD_REQUEST");
    t.try_login(ADA, ATTACKERS).await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(t.try_login(ADA, OWNERS).await.expect(200)["user"]["full_name"], "Ada");
}

async fn registered_again_links_used_at_once_succeed_once(b: Backend) {
    let t = app(b).await;
    let mut tokens = Vec::new();
    for n in 0..3 {
        tokens.push(registered(&t, &format!("unusual one number {n}"), None).await);
        t.minutes_pass(1);
    }
    let replies = join_all(tokens.iter().chain(&tokens).map(|token| verify(&t, token))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert!(replies.iter().all(|reply| matches!(reply.status.as_u16(), 200 | 400)));
    let winner = replies.iter().position(|reply| reply.status == 200).unwrap() % 3;
    for n in 0..3 {
        let status = t.try_login(ADA, &format!("unusual one number {n}")).await.status;
        assert_eq!(status.as_u16(), if n == winner { 200 } else { 401 });
    }
    assert_eq!(t.mails(ADA, "welcome").await.len(), 1);
}

async fn registered_again_resend_mails_a_reset_link(b: Backend) {
    let t = app(b).await;
    let first = registered(&t, ATTACKERS, Some("Eve")).await;
    // With one registration, a resent mail has the same meaning.
    t.minutes_pass(1);
    post(&t, "resend-verification", json!({"email": ADA})).await.expect(202);
    let resent = t.mailed_token(ADA, "verify_email").await;
    assert_ne!(first, resent);
    verify(&t, &first).await.expect_error(400, "BAD_REQUEST");
    // With several, the mail leads to a password that the owner chooses, also after the second registration has expired.
    let owners = registered(&t, OWNERS, Some("Ada")).await;
    t.clock.advance(TimeDelta::hours(25));
    verify(&t, &owners).await.expect_error(400, "BAD_REQUEST");
    post(&t, "resend-verification", json!({"email": ADA})).await.expect(202);
    let reset = t.mailed_token(ADA, "password_reset").await;
    assert_eq!(t.mails(ADA, "verify_email").await.len(), 3);
    verify(&t, &reset).await.expect_error(400, "BAD_REQUEST");
    let again = registered(&t, ATTACKERS, None).await;
    post(&t, "reset-password", json!({"token": reset, "password": PASSWORD})).await.expect(200);
    for token in [&resent, &again] {
        verify(&t, token).await.expect_error(400, "BAD_REQUEST");
    }
    t.try_login(ADA, ATTACKERS).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.try_login(ADA, PASSWORD).await.expect(200);
}

async fn registered_again_link_ends_sessions_of_the_first(b: Backend) {
    let before = TestApp::with_accounts(b, &[]).await;
    let eve = before.register(ADA).await;
    eve.client.get("/app/users/me").await.expect(200);
    before.run_jobs().await;
    // Verification is required from now on.
    let t = before.second_with_accounts(&[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    let owners = registered(&t, OWNERS, Some("Ada")).await;
    t.refresh(&eve.refresh).await.expect(200);
    verify(&t, &owners).await.expect(200);
    t.refresh(&eve.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.with_token(eve.client.token.as_ref().unwrap()).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.try_login(ADA, PASSWORD).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.try_login(ADA, OWNERS).await.expect(200);
}

async fn registered_again_is_bounded_in_number_and_time(b: Backend) {
    let t = app(b).await;
    register(&t, ATTACKERS, None).await.expect(202);
    let replies = join_all((0..20).map(|n| {
        let password = format!("unusual one number {n}");
        let t = &t;
        async move { register(t, &password, None).await }
    }))
    .await;
    assert!(replies.iter().all(|reply| reply.status == 202));
    assert_eq!(t.number("SELECT COUNT(*) FROM registrations").await, 2, "three within 15 minutes, with the first");
    assert_eq!(t.mails(ADA, "verify_email").await.len(), 3);
    for _ in 0..30 {
        t.minutes_pass(16);
        register(&t, ATTACKERS, None).await.expect(202);
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM registrations").await, 10);
    t.clock.advance(TimeDelta::hours(25));
    t.app.jobs.enqueue_by_name(&t.app.db, "sweep_expired", json!({}), New::default()).await.unwrap();
    t.run_jobs().await;
    assert_eq!(t.number("SELECT COUNT(*) FROM registrations").await, 0);
}

async fn registered_again_deactivated_user_gets_no_link(b: Backend) {
    let t = app(b).await;
    register(&t, ATTACKERS, None).await.expect(202);
    let owners = registered(&t, OWNERS, None).await;
    omnistack::features::users::service::operator::set_active(&t.app, ADA, false).await.unwrap();
    verify(&t, &owners).await.expect_error(400, "BAD_REQUEST");
    register(&t, PASSWORD, None).await.expect(202);
    assert_eq!((t.number("SELECT COUNT(*) FROM registrations").await, t.mails(ADA, "verify_email").await.len()), (0, 2));
    omnistack::features::users::service::operator::set_active(&t.app, ADA, true).await.unwrap();
    verify(&t, &owners).await.expect_error(400, "BAD_REQUEST");
}

async fn registered_again_is_exported_and_erased(b: Backend) {
    let before = TestApp::with_accounts(b, &[]).await;
    let ada = before.register(ADA).await;
    let t = before.second_with_accounts(&[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    register(&t, OWNERS, Some("Somebody Else")).await.expect(202);
    t.try_login(ADA, "a wrong one").await.expect(401);
    let client = t.with_token(ada.client.token.as_ref().unwrap());
    let job = client.post("/app/users/me/export", json!({})).await.expect(202)["job_id"].as_str().unwrap().to_owned();
    t.run_jobs().await;
    let copy = client.get(&format!("/app/users/me/export/{job}")).await.expect(200);
    assert_eq!(copy["registrations"], json!([{"created_at": t.clock.now()}]));
    assert!(!copy.to_string().contains("argon2") && !copy.to_string().contains("Somebody Else"), "{copy}");
    let mails = t.mails(ADA, "verify_email").await;
    t.erase(&ada.id).await.unwrap();
    for table in ["users", "credentials", "registrations", "one_time_tokens", "login_failures"] {
        assert_eq!(t.number(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
    for mail in &mails {
        verify(&t, &token_of(mail)).await.expect_error(400, "BAD_REQUEST");
    }
}
