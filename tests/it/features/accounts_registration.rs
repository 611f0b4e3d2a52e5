//! Registration: with and without e-mail verification, one account per address, and password rules.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::accounts::PASSWORD;
use crate::harness::{Backend, Reply, TestApp};

crate::on_both_backends![
    register_new_address_returns_session,
    register_equivalent_address_returns_409,
    register_concurrent_requests_create_one_user,
    register_invalid_body_stores_nothing,
    register_password_below_configured_length_returns_422,
    register_when_registration_closed_returns_403,
    register_verification_required_hides_existing_account,
    verify_email_success_allows_login_and_sends_one_welcome,
];
crate::on_sqlite![
    account_routes_with_external_issuer_return_404,
];

async fn register(t: &TestApp, body: Value) -> Reply {
    t.anonymous().post("/public/auth/register", body).await
}

async fn count(t: &TestApp, table: &str) -> i64 {
    t.number(&format!("SELECT COUNT(*) FROM {table}")).await
}

async fn register_new_address_returns_session(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let config = t.anonymous().get("/public/auth/config").await;
    assert_eq!(config.header("cache-control"), Some("no-store"));
    assert_eq!(
        config.expect(200),
        json!({"provider": "local", "registration_open": true, "email_verification_required": false, "password_min_length": 8})
    );
    let reply = register(&t, json!({"email": " Ada@Example.test ", "password": PASSWORD, "full_name": " Ada ", "role": "admin"})).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let session = reply.expect(201);
    let names: Vec<&str> = session.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["access_token", "expires_in", "refresh_expires_in", "refresh_token", "token_type", "user"]);
    assert_eq!((&session["token_type"], &session["expires_in"]), (&json!("bearer"), &json!(900)));
    assert_eq!(session["refresh_expires_in"], 14 * 86_400);
    let user = &session["user"];
    assert_eq!((&user["email"], &user["full_name"], &user["role"]), (&json!("ada@example.test"), &json!("Ada"), &json!("user")));
    let ada = t.account(&session);
    assert_eq!(ada.client.get("/app/users/me").await.expect(200), *user);
    assert_eq!(ada.client.project("Apollo").await["owner_id"], user["id"]);
    assert_eq!(t.number("SELECT CAST(login_count AS BIGINT) FROM users").await, 1);
    // Exactly one e-mail job, and its arguments contain no link.
    assert_eq!(t.texts("SELECT function FROM jobs").await, ["send_account_email"]);
    let payload: Value = serde_json::from_str(&t.texts("SELECT CAST(kwargs AS TEXT) FROM jobs").await[0]).unwrap();
    assert_eq!(payload, json!({"purpose": "verify_email", "email": "ada@example.test"}));
    let mails = t.mails("ada@example.test", "verify_email").await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0]["text"].as_str().unwrap().contains("http://localhost:8000/verify-email?token="), "{}", mails[0]);
}

async fn register_equivalent_address_returns_409(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("rene@példa.test").await;
    for twin in ["rene@példa.test", "RENE@PÉLDA.TEST", " rene@példa.test\t", "rene@pe\u{301}lda.test", "RENE@PE\u{301}LDA.TEST"] {
        let details = register(&t, json!({"email": twin, "password": PASSWORD})).await.expect_error(409, "CONFLICT");
        assert_eq!(details, json!({"resource": "User"}), "{twin}");
        t.login(twin).await;
    }
    assert_eq!((count(&t, "users").await, count(&t, "credentials").await), (1, 1));
}

async fn register_concurrent_requests_create_one_user(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let other = t.second_with_accounts(&[]).await;
    let body = json!({"email": "ada@example.test", "password": PASSWORD});
    let replies = join_all((0..20).map(|n| register(if n % 2 == 0 { &t } else { &other }, body.clone()))).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409)), "{statuses:?}");
    assert_eq!((count(&t, "users").await, count(&t, "credentials").await, count(&t, "sessions").await), (1, 1, 1));
    assert_eq!(count(&t, "jobs").await, 1);
}

async fn register_invalid_body_stores_nothing(b: Backend) {
    let t = TestApp::with_accounts(b, &[("PROJECT_NAME", "Acme Widgets")]).await;
    let long_name = "x".repeat(256);
    let long_email = format!("{}@{}.test", "a".repeat(60), "b".repeat(250));
    for (field, body) in [
        ("email", json!({"password": PASSWORD})),
        ("email", json!({"email": 5, "password": PASSWORD})),
        ("email", json!({"email": "nonsense", "password": PASSWORD})),
        ("email", json!({"email": "ada@localhost", "password": PASSWORD})),
        ("email", json!({"email": "ada@example.test\r\nBcc: eve@example.test", "password": PASSWORD})),
        ("email", json!({"email": "ada\0@example.test", "password": PASSWORD})),
        ("email", json!({"email": "ａｄａ@example.test", "password": PASSWORD})),
        ("email", json!({"email": long_email, "password": PASSWORD})),
        ("password", json!({"email": "ada@example.test"})),
        ("password", json!({"email": "ada@example.test", "password": "short"})),
        ("password", json!({"email": "ada@example.test", "password": "e\u{301}".repeat(7)})),
        ("password", json!({"email": "ada@example.test", "password": "x".repeat(129)})),
        ("password", json!({"email": "ada@example.test", "password": "x".repeat(1_000_000)})),
        ("password", json!({"email": "ada@example.test", "password": "with\0nul-in-it"})),
        ("password", json!({"email": "ada@example.test", "password": "Password1"})),
        ("password", json!({"email": "ada@example.test", "password": "ADA@example.test"})),
        ("password", json!({"email": "ada@example.test", "password": "acme widgets"})),
        ("password", json!({"email": "ada@example.test", "password": "Password123!"})),
        ("password", json!({"email": "ada@example.test", "password": "Summer2025"})),
        ("password", json!({"email": "ada@example.test", "password": "        "})),
        ("password", json!({"email": "ada@example.test", "password": "🚀".repeat(8)})),
        ("password", json!({"email": "ada@example.test", "password": "Widgets2025"})),
        ("password", json!({"email": "zbigniew@example.test", "password": "zbigniew1"})),
        ("password", json!({"email": "ada@example.test", "full_name": "Zbigniew Lem", "password": "zbigniew1"})),
        ("full_name", json!({"email": "ada@example.test", "password": PASSWORD, "full_name": long_name})),
    ] {
        let details = register(&t, body.clone()).await.expect_error(422, "VALIDATION_ERROR");
        assert_eq!(details["field"], field, "{body:.200}");
    }
    let huge = json!({"email": "ada@example.test", "password": "x".repeat(1 << 21)});
    register(&t, huge).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    register(&t, json!([])).await.expect_error(422, "VALIDATION_ERROR");
    for table in ["users", "credentials", "sessions", "jobs"] {
        assert_eq!(count(&t, table).await, 0, "{table}");
    }
    // Unusual passwords (spaces, emoji, control characters) are accepted.
    let longest = format!("a long and unusual one {}x", "e\u{301}9".repeat(52));
    for (n, fine) in ["  4 7 x  ", "🚀over🌉to🌍", &longest, "\u{1}\u{2}\u{3}\n\r\t\u{7f}x"].into_iter().enumerate() {
        let email = format!("ada{n}@example.test");
        register(&t, json!({"email": email, "password": fine})).await.expect(201);
        t.try_login(&email, fine).await.expect(200);
    }
}

async fn register_password_below_configured_length_returns_422(b: Backend) {
    let t = TestApp::with_accounts(b, &[("AUTH_PASSWORD_MIN_LENGTH", "15")]).await;
    assert_eq!(t.anonymous().get("/public/auth/config").await.expect(200)["password_min_length"], 15);
    let fourteen = json!({"email": "ada@example.test", "password": "kj4xw7qp2m9tzb"});
    assert_eq!(register(&t, fourteen).await.expect_error(422, "VALIDATION_ERROR")["field"], "password");
    register(&t, json!({"email": "ada@example.test", "password": "kj4xw7qp2m9tzbv"})).await.expect(201);
    assert!(t.anonymous().get("//reset-password").await.expect_text(200).contains("minlength=\"15\""));
}

async fn register_when_registration_closed_returns_403(b: Backend) {
    let t = TestApp::with_accounts(b, &[("AUTH_REGISTRATION_OPEN", "false")]).await;
    register(&t, json!({"email": "ada@example.test", "password": PASSWORD})).await.expect_error(403, "AUTHORIZATION_ERROR");
    assert_eq!(count(&t, "users").await, 0);
    assert_eq!(t.anonymous().get("/public/auth/config").await.expect(200)["registration_open"], false);
}

async fn register_verification_required_hides_existing_account(b: Backend) {
    let t = TestApp::with_accounts(b, &[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    assert_eq!(t.anonymous().get("/public/auth/config").await.expect(200)["email_verification_required"], true);
    let first = register(&t, json!({"email": "ada@example.test", "password": PASSWORD})).await;
    let token = t.mailed_token("ada@example.test", "verify_email").await;
    t.anonymous().post("/public/auth/verify-email", json!({"token": token})).await.expect(200);
    let taken = register(&t, json!({"email": "ADA@example.test", "password": "another unusual one"})).await;
    assert_eq!((first.status, &first.body), (taken.status, &taken.body));
    let answer = first.expect(202);
    assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["message"]);
    assert_eq!((count(&t, "users").await, count(&t, "sessions").await), (1, 0));
    // The owner is notified by e-mail and the account is unchanged.
    assert_eq!(t.mails("ada@example.test", "verify_email").await.len(), 1);
    assert_eq!(t.mails("ada@example.test", "email_taken").await.len(), 1);
    t.try_login("ada@example.test", "another unusual one").await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(t.number("SELECT CAST(login_count AS BIGINT) FROM users").await, 0);
    t.try_login("ada@example.test", PASSWORD).await.expect(200);
}

async fn verify_email_success_allows_login_and_sends_one_welcome(b: Backend) {
    let t = TestApp::with_accounts(b, &[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    register(&t, json!({"email": "ada@example.test", "password": PASSWORD, "full_name": "Ada"})).await.expect(202);
    assert_eq!(t.mails("ada@example.test", "welcome").await.len(), 0);
    let token = t.mailed_token("ada@example.test", "verify_email").await;
    let verify = async || t.anonymous().post("/public/auth/verify-email", json!({"token": token})).await;
    let replies = join_all((0..5).map(|_| verify())).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    verify().await.expect_error(400, "BAD_REQUEST");
    t.login("ada@example.test").await;
    let welcome = t.mails("ada@example.test", "welcome").await;
    assert_eq!(welcome.len(), 1);
    assert!(welcome[0]["text"].as_str().unwrap().contains("Ada"), "{}", welcome[0]);
}

async fn account_routes_with_external_issuer_return_404(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    assert_eq!(
        t.anonymous().get("/public/auth/config").await.expect(200),
        json!({"provider": "custom", "registration_open": false, "email_verification_required": false, "password_min_length": 8})
    );
    for client in [&amy, &t.anonymous()] {
        for path in ["register", "login", "refresh", "logout", "verify-email", "resend-verification", "forgot-password", "reset-password"] {
            client.post(&format!("/public/auth/{path}"), json!({})).await.expect_error(404, "NOT_FOUND");
        }
        client.get("/app/auth/sessions").await.expect_error(404, "NOT_FOUND");
        client.delete("/app/auth/sessions/x").await.expect_error(404, "NOT_FOUND");
        client.post("/app/auth/logout-all", json!({})).await.expect_error(404, "NOT_FOUND");
        client.post("/app/auth/change-password", json!({})).await.expect_error(404, "NOT_FOUND");
    }
    let paths = t.anonymous().get("/openapi.json").await.expect(200)["paths"].clone();
    let offered: Vec<&String> = paths.as_object().unwrap().keys().filter(|path| path.contains("/auth/")).collect();
    assert_eq!(offered, ["/api/v1/public/auth/config"]);
}
