//! International addresses: one account for all spellings, and only addresses that mail can be sent to.

use omnistack::features::users::service::operator;
use omnistack::platform::auth::Role;
use serde_json::json;

use crate::harness::accounts::PASSWORD;
use crate::harness::{Backend, SECRET, TestApp, tokens};

crate::on_both_backends![
    international_domain_spellings_are_one_account,
    address_stored_in_unicode_is_found_by_all_spellings,
    first_request_with_other_spelling_returns_409,
    operator_creates_only_mailable_addresses,
];
crate::on_sqlite![
    register_unmailable_address_returns_422,
];

const STORED: &str = "anna@xn--mller-kva.example";
const SPELLINGS: [&str; 4] = ["anna@müller.example", "Anna@MU\u{308}LLER.Example", STORED, " ANNA@XN--MLLER-KVA.EXAMPLE "];

/// Sends and counts password reset mails requested in each spelling.
async fn every_spelling_gets_the_reset_mail(t: &TestApp) {
    for (n, spelling) in SPELLINGS.iter().enumerate() {
        t.anonymous().post("/public/auth/forgot-password", json!({"email": spelling})).await.expect(202);
        t.minutes_pass(16);
        let mails = t.mails(spelling, "password_reset").await;
        assert_eq!((mails.len(), &mails[0]["to"]), (n + 1, &json!(STORED)), "{spelling}");
    }
}

async fn every_spelling_is_taken(t: &TestApp) {
    for spelling in SPELLINGS {
        let reply = t.anonymous().post("/public/auth/register", json!({"email": spelling, "password": PASSWORD})).await;
        reply.expect_error(409, "CONFLICT");
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 1);
}

async fn international_domain_spellings_are_one_account(b: Backend) {
    for registered in [SPELLINGS[0], STORED] {
        let t = TestApp::with_accounts(b, &[]).await;
        let anna = t.register(registered).await;
        assert_eq!(anna.client.get("/app/users/me").await.expect(200)["email"], STORED);
        every_spelling_is_taken(&t).await;
        for spelling in SPELLINGS {
            assert_eq!(t.login(spelling).await.id, anna.id, "{spelling}");
        }
        every_spelling_gets_the_reset_mail(&t).await;
        // Wrong passwords are counted for the account, not for a spelling.
        for n in 0..10 {
            t.try_login(SPELLINGS[n % 4], "a wrong password").await.expect_error(401, "AUTHENTICATION_ERROR");
        }
        t.try_login(STORED, PASSWORD).await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    }
}

/// Earlier versions stored the domain as it was written, and may still run on the same database: the row stays as it is.
async fn address_stored_in_unicode_is_found_by_all_spellings(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let anna = t.register(STORED).await;
    t.sql("UPDATE users SET email = 'anna@müller.example'").await;
    every_spelling_is_taken(&t).await;
    for spelling in SPELLINGS {
        assert_eq!(t.login(spelling).await.id, anna.id, "{spelling}");
        assert_eq!(operator::find(&t.app, spelling).await.unwrap().unwrap().as_str(), anna.id);
        assert_eq!(operator::find_or_create(&t.app, spelling, Role::User).await.unwrap().id.as_str(), anna.id);
    }
    every_spelling_gets_the_reset_mail(&t).await;
    assert_eq!(anna.client.get("/app/users/me").await.status, 401, "the token has expired meanwhile");
    assert_eq!(t.login(STORED).await.client.get("/app/users/me").await.expect(200)["email"], "anna@müller.example");
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 1);
}

async fn first_request_with_other_spelling_returns_409(b: Backend) {
    let t = TestApp::start(b).await;
    let newcomer = |id: &str, email: &str| t.with_token(&tokens::claims(id, &t.clock).with("email", email.into()).sign(SECRET));
    let me = newcomer("anna", SPELLINGS[1]).get("/app/users/me").await.expect(200);
    assert_eq!(me["email"], STORED);
    for stored in [STORED, "anna@müller.example"] {
        t.sql(&format!("UPDATE users SET email = '{stored}'")).await;
        for spelling in SPELLINGS {
            newcomer("eve", spelling).get("/app/users/me").await.expect_error(409, "CONFLICT");
        }
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 1);
}

async fn operator_creates_only_mailable_addresses(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    for bad in ["nonsense", "jürgen@example.test", "a b@example.test", "ada@exa_mple.test", "ada@"] {
        assert!(operator::find_or_create(&t.app, bad, Role::User).await.is_err(), "{bad}");
        let made = omnistack::features::accounts::service::operator::create(&t.app, bad, Role::User, PASSWORD, false, &mut |_| Ok(())).await;
        assert!(made.is_err(), "{bad}");
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 0);
    assert_eq!(operator::find_or_create(&t.app, "Admin@LocalHost", Role::User).await.unwrap().email, "admin@localhost");
}

async fn register_unmailable_address_returns_422(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    for email in ["jürgen@example.test", "ada@exa_mple.test", "ada@-example.test", "ada@example.test.", "ada@10.0.0.1", "ada@[10.0.0.1]"] {
        let reply = t.anonymous().post("/public/auth/register", json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(reply.expect_invalid(), ["email"], "{email}");
        // What is given at log-in is not checked: an account of an earlier version may have it.
        t.try_login(email, PASSWORD).await.expect_error(401, "AUTHENTICATION_ERROR");
    }
}
