//! Account commands (`users`, `seed`): generated passwords are printed once and work, and the log contains no secrets.

use serde_json::{Value, json};

use crate::harness::Backend;
use crate::harness::database::Database;
use crate::harness::process::Place;

const SECRET: &str = "a-service-secret-for-tests-of-32-characters";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_command_manages_accounts_of_running_server() {
    for b in [Backend::Sqlite, Backend::Postgres] {
        if !b.is_available() {
            continue;
        }
        let database = Database::empty(b).await;
        let place = Place::new()
            .with("DATABASE_URL", &database.url)
            .with("ENVIRONMENT", "staging")
            .with("SECRET_KEY", SECRET)
            .with("RATE_LIMIT_DEFAULT", "1000000/minute")
            .with("AUTH_REQUIRE_VERIFIED_EMAIL", "true");
        let said = place.run(&["users", "create", " Ada@Example.com", "--role", "superadmin"]).await.expect_ok();
        assert!(said.starts_with("ada@example.com (") && said.contains(") is superadmin, active"), "{said}");
        let password = said.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
        let server = place.serve().await;
        let log_in =
            async || server.client(None).post("/public/auth/login", json!({"email": "ada@example.com", "password": password})).await;
        let session = log_in().await.expect(200);
        assert_eq!(session["user"]["role"], "superadmin");
        let ada = server.client(session["access_token"].as_str().map(str::to_owned));
        ada.get("/admin/users").await.expect(200);

        let said = place.run(&["users", "create", "ada@example.com"]).await.expect_refusal();
        assert!(said.contains("has an account already"), "{said}");
        for nonsense in [
            &["users", "create", "nonsense"][..],
            &["users", "promote", "nobody@example.com", "--role", "admin"],
            &["users", "deactivate", "nobody"],
        ] {
            place.run(nonsense).await.expect_refusal();
        }
        place.run(&["users", "create", "bea@example.com"]).await.expect_ok();
        let said = place.run(&["users", "promote", "bea@example.com", "--role", "admin"]).await.expect_ok();
        assert!(said.contains("bea@example.com") && said.contains("is admin, active"), "{said}");
        let list = place.run(&["users", "list"]).await.expect_ok();
        assert_eq!(list.lines().count(), 2);
        assert!(!place.run(&["users", "list", "--skip", "1"]).await.expect_ok().contains("bea@"), "newest first");

        place.run(&["users", "deactivate", "ada@example.com"]).await.expect_ok();
        log_in().await.expect_error(403, "AUTHORIZATION_ERROR");
        // The running server notices the change within five seconds.
        crate::harness::eventually("the deactivated user is refused", async || ada.get("/app/users/me").await.status == 403).await;
        let said = place.run(&["users", "activate", "ada@example.com"]).await.expect_ok();
        assert!(said.contains("active"), "{said}");
        log_in().await.expect(200);
        crate::harness::eventually("the old session stays ended", async || ada.get("/app/users/me").await.status == 401).await;
        assert!(!server.output().contains(password), "the log contains a password");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_of_account_flows_contains_no_secrets() {
    let place = Place::new()
        .with("ENVIRONMENT", "staging")
        .with("SECRET_KEY", SECRET)
        .with("LOG_LEVEL", "DEBUG")
        .with("RATE_LIMIT_AUTH", "1000/minute");
    let mut server = place.serve().await;
    let post = async |path: &str, body: Value| server.client(None).post(&format!("/public/auth/{path}"), body).await;
    let (password, wrong) = ("a long and unusual one", "a wrong and unusual one");
    let session = post("register", json!({"email": "ada@example.com", "password": password})).await.expect(201);
    post("login", json!({"email": "ada@example.com", "password": wrong})).await.expect(401);
    let newer = post("refresh", json!({"refresh_token": session["refresh_token"]})).await.expect(200);
    post("forgot-password", json!({"email": "ada@example.com"})).await.expect(202);
    post("verify-email", json!({"token": "a-token-that-is-none"})).await.expect(400);
    let ada = server.client(newer["access_token"].as_str().map(str::to_owned));
    ada.post("/app/auth/change-password", json!({"current_password": password, "new_password": wrong})).await.expect(204);
    let told = async || server.output().matches("job completed").count() >= 3;
    crate::harness::eventually("the mails are sent", told).await;
    server.signal("TERM");
    server.ended().await;
    let log = server.output();
    for secret in [password, wrong, "a-token-that-is-none", "?token=", "argon2id", "ada@example.com"] {
        assert!(!log.contains(secret), "{secret}:\n{log}");
    }
    for token in [&session["access_token"], &session["refresh_token"], &newer["access_token"], &newer["refresh_token"]] {
        assert!(!log.contains(token.as_str().unwrap()));
    }
    assert!(log.contains("a***@example.com"), "{log}");
}

/// The fields of an authentication event in a line of the readable log.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn events(output: &str) -> Vec<&str> {
    output.lines().filter(|line| line.contains("authentication event")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_has_one_line_for_each_authentication_event() {
    let place = Place::new().with("ENVIRONMENT", "staging").with("SECRET_KEY", SECRET).with("RATE_LIMIT_AUTH", "1000/minute");
    let mut server = place.serve().await;
    let (email, password, new) = ("ada@example.com", "a long and unusual one", "another unusual one");
    let post = async |path: &str, body: Value| server.client(None).post(&format!("/public/auth/{path}"), body).await;
    let registered = post("register", json!({"email": email, "password": password})).await.expect(201);
    let id = registered["user"]["id"].as_str().unwrap().to_owned();
    post("register", json!({"email": email, "password": password})).await.expect(409);
    let session = post("login", json!({"email": email, "password": password})).await;
    let request = session.header("x-request-id").unwrap().to_owned();
    let session = session.expect(200);
    let ada = server.client(session["access_token"].as_str().map(str::to_owned));
    ada.post("/app/auth/change-password", json!({"current_password": password, "new_password": new})).await.expect(204);
    for _ in 0..10 {
        post("login", json!({"email": email, "password": "a wrong one"})).await.expect(401);
    }
    post("login", json!({"email": email, "password": new})).await.expect(429);
    post("forgot-password", json!({"email": email})).await.expect(202);
    place.run(&["users", "promote", email, "--role", "admin"]).await.expect_ok();
    let outcome = place.run(&["users", "deactivate", email]).await;
    let command = events(&outcome.err);
    assert_eq!(command.len(), 1, "the command line logs to standard error: {outcome:?}");
    assert_eq!(
        (field(command[0], "event"), field(command[0], "user_id"), field(command[0], "actor")),
        (Some("deactivation"), Some(&*id), Some("operator"))
    );
    let outcome = place.run(&["users", "erase", email, "--yes"]).await;
    assert!(events(&outcome.err).iter().any(|line| field(line, "event") == Some("user_erase")), "{outcome:?}");
    server.signal("TERM");
    server.ended().await;

    let output = server.output();
    let lines = events(&output);
    let said: Vec<(&str, &str)> = lines.iter().map(|line| (field(line, "event").unwrap(), field(line, "outcome").unwrap())).collect();
    let wrong = [("login", "failure"); 9];
    let wanted: Vec<_> = [("register", "success"), ("register", "refused"), ("login", "success"), ("password_change", "success")]
        .into_iter()
        .chain(wrong)
        .chain([("lockout", "refused"), ("login", "failure"), ("login", "refused"), ("password_reset_request", "success")])
        .collect();
    assert_eq!(said, wanted, "{output}");
    let hash = lines.iter().find_map(|line| field(line, "address_hash")).unwrap();
    for line in &lines {
        assert!(field(line, "request_id").is_some() && field(line, "client_ip") == Some("127.0.0.1"), "{line}");
        assert!(field(line, "user_id") == Some(&id) || field(line, "address_hash") == Some(hash), "{line}");
        assert!(!line.contains('@') && !line.contains("unusual") && !line.contains("eyJ"), "{line}");
    }
    assert!(lines.iter().any(|line| field(line, "request_id") == Some(&request)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_repeated_prints_the_current_password() {
    let place = Place::new();
    let server = place.serve().await;
    let log_in = async |email: &str, password: &str| {
        server.client(None).post("/public/auth/login", json!({"email": email, "password": password})).await
    };
    let mut passwords = Vec::new();
    for _ in 0..2 {
        let said = place.run(&["seed"]).await.expect_ok();
        passwords.push(said.lines().find_map(|line| line.strip_prefix("password of both: ")).unwrap().to_owned());
    }
    log_in("demo@example.com", &passwords[0]).await.expect_error(401, "AUTHENTICATION_ERROR");
    let demo = log_in("demo@example.com", &passwords[1]).await.expect(200);
    let client = server.client(demo["access_token"].as_str().map(str::to_owned));
    assert_eq!(client.get("/app/projects").await.expect(200)["total"], 4);
    let said = place.run_with(&["seed", "--password"], "one for the whole team\n").await.expect_ok();
    assert!(!said.contains("one for the whole team"), "{said}");
    assert_eq!(log_in("admin@example.com", "one for the whole team").await.expect(200)["user"]["role"], "admin");
    assert!(place.run_with(&["seed", "--password"], "password1").await.expect_refusal().contains("common"));
    for (args, input) in [(&["seed", "--password"][..], ""), (&["seed", "--password", "on the command line"], "x\n")] {
        place.run_with(args, input).await.expect_refusal();
    }
    assert!(place.run(&["seed", "--password", "x"]).await.expect_refusal().contains("visible to other users"));
    log_in("admin@example.com", "one for the whole team").await.expect(200);
    assert!(place.run_with(&["seed", "--password"], "Summer2025\n").await.expect_refusal().contains("easy to guess"));
    let production = Place::new()
        .with("ENVIRONMENT", "production")
        .with("SECRET_KEY", SECRET)
        .with("DATABASE_URL", "postgres://localhost/nowhere")
        .with("PUBLIC_BASE_URL", "https://api.example.com")
        .with("BACKEND_CORS_ORIGINS", "https://app.example.com");
    assert!(production.run(&["seed"]).await.expect_refusal().contains("refused in production"));
}

#[tokio::test]
async fn users_create_with_external_issuer_is_refused() {
    let place = Place::new().with("OAUTH_JWT_SECRET", "an-issuers-secret-of-32-characters-or-more");
    let said = place.run(&["users", "create", "ada@example.com"]).await.expect_refusal();
    assert!(said.contains("made at the issuer") && said.contains("custom"), "{said}");
}
