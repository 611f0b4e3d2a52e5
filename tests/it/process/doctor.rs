//! `omnistack doctor`: each finding has a remedy, and the exit code reflects failures.

use serde_json::json;

use crate::harness::Backend;
use crate::harness::database::Database;
use crate::harness::process::{Outcome, Place, banner_password};

/// Checks that a finding of this kind exists and that the next line contains the remedy.
#[track_caller]
fn finds(outcome: &Outcome, kind: &str, what: &str, remedy: &str) {
    let lines: Vec<&str> = outcome.out.lines().collect();
    let found = lines.windows(2).any(|pair| pair[0].starts_with(kind) && pair[0].contains(what) && pair[1].contains(remedy));
    assert!(found, "no `{kind} {what}` with `{remedy}` in\n{}{}", outcome.out, outcome.err);
}

#[tokio::test]
async fn doctor_new_clone_passes_and_changes_nothing() {
    let place = Place::new();
    let outcome = place.run(&["doctor"]).await;
    assert_eq!(outcome.code, 0, "{}{}", outcome.out, outcome.err);
    assert!(outcome.out.contains("All is well.") && outcome.out.contains("pending; the next start applies them"), "{}", outcome.out);
    assert!(!place.path("data/secret_key").exists(), "doctor must not create the secret file");
    place.run(&["migrate"]).await.expect_ok();
    let said = place.run(&["doctor"]).await.expect_ok();
    for line in [
        "ok    configuration",
        "ok    folders",
        "ok    database",
        "ok    migrations     all",
        "ok    clock",
        "ok    redis",
        "ok    server         does not run",
    ] {
        assert!(said.contains(line), "{line}:\n{said}");
    }
}

#[tokio::test]
async fn doctor_reachable_postgres_and_redis_pass() {
    let (true, Some(redis)) = (Backend::Postgres.is_available(), crate::harness::services::redis()) else { return };
    let database = Database::create(Backend::Postgres).await;
    let said = Place::new().with("DATABASE_URL", &database.url).with("REDIS_URL", redis).run(&["doctor"]).await.expect_ok();
    assert!(said.contains("ok    redis          answers") && said.contains("Postgres at"), "{said}");
}

#[tokio::test]
async fn doctor_invalid_settings_each_have_a_remedy() {
    let place = Place::bare()
        .with("PORT", "hunter2")
        .with("ENVIRONMENT", "production")
        .with("SECRET_KEY", "change-me-change-me-change-me-change-me");
    let outcome = place.run(&["doctor"]).await;
    assert_eq!(outcome.code, 1);
    finds(&outcome, "FAIL", "PORT: must be", "Correct it");
    finds(&outcome, "FAIL", "SECRET_KEY: is a sample", "openssl rand");
    finds(&outcome, "FAIL", "DATABASE_URL: is required", "postgres://");
    finds(&outcome, "FAIL", "BACKEND_CORS_ORIGINS:", "https://app.example.com");
    assert!(!outcome.out.contains("hunter2") && !outcome.out.contains("change-me"), "{}", outcome.out);
    assert!(outcome.out.contains("Something must be mended"));
}

#[tokio::test]
async fn doctor_unreachable_database_fails() {
    let nobody = "postgres://app:hunter2@127.0.0.1:1/none";
    let outcome = Place::new().with("DATABASE_URL", nobody).run(&["doctor"]).await;
    assert_eq!(outcome.code, 1);
    finds(&outcome, "FAIL", "Postgres at 127.0.0.1/none", "Check DATABASE_URL");
    assert!(!outcome.out.contains("hunter2"), "{}", outcome.out);
}

#[tokio::test]
async fn doctor_unreachable_redis_warns() {
    let outcome = Place::new().with("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0").run(&["doctor"]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.out);
    finds(&outcome, "warn", "does not answer", "Check REDIS_URL");
    assert!(!outcome.out.contains("hunter2"), "{}", outcome.out);
}

#[tokio::test]
async fn doctor_pending_migrations_fail_without_auto_migration() {
    let outcome = Place::new().with("RUN_MIGRATIONS", "false").run(&["doctor"]).await;
    assert_eq!(outcome.code, 1);
    finds(&outcome, "FAIL", "pending, and RUN_MIGRATIONS is false", "omnistack migrate");
}

/// A file exists at the path of the folder.
#[tokio::test]
async fn doctor_unwritable_folders_fail() {
    let place = Place::new().with("DATA_DIR", "taken").with("DATABASE_URL", "sqlite:///taken/x.db");
    place.write("taken", "a file");
    let outcome = place.run(&["doctor"]).await;
    assert_eq!(outcome.code, 1);
    finds(&outcome, "FAIL", "DATA_DIR taken", "Create the folder");
    finds(&outcome, "FAIL", "SQLite at taken/x.db", "Check DATABASE_URL");
    assert!(place.run(&[]).await.expect_refusal().contains("taken"));
}

#[tokio::test]
async fn doctor_warnings_only_exits_0() {
    let outcome = Place::new().with("AUTH_PROVIDER", "clerk").run(&["doctor"]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.out);
    finds(&outcome, "warn", "AUTH_PROVIDER: has no source of keys", "CLERK_ISSUER_URL");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_shows_open_breaker_of_running_server() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::new()
        .with("STORAGE_PROVIDER", "s3")
        .with("S3_ENDPOINT_URL", &format!("http://{closed}"))
        .with("AWS_S3_BUCKET", "files")
        .with("AWS_ACCESS_KEY_ID", "AKIATEST")
        .with("AWS_SECRET_ACCESS_KEY", "hunter2");
    let server = place.serve().await;
    let port = server.authority().rsplit_once(':').unwrap().1.to_owned();
    let doctor = Place::new().with("PORT", &port);
    let said = doctor.run(&["doctor"]).await.expect_ok();
    assert!(said.contains(&format!("ok    server         runs at 127.0.0.1:{port}: healthy")), "{said}");

    let admin = server.admin(&banner_password(&server.output())).await;
    let body = json!({"filename": "a.txt", "content_type": "text/plain", "size": 5});
    let file = admin.post("/app/files/upload-url", body).await.expect(201);
    for _ in 0..5 {
        admin.post("/app/files/confirm", json!({"file_id": file["file_id"]})).await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    }
    let outcome = doctor.run(&["doctor"]).await;
    assert_eq!(outcome.code, 0, "the server runs\n{}", outcome.out);
    assert!(outcome.out.contains(&format!("ok    server         runs at 127.0.0.1:{port}: healthy")), "{}", outcome.out);
    finds(&outcome, "warn", "s3: circuit breaker open", "status page");
    assert!(server.output().contains("circuit breaker opened"), "{}", server.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_other_program_on_the_port_warns() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = axum::Router::new().fallback(async || "hello");
    tokio::spawn(axum::serve(listener, router).into_future());
    let outcome = Place::new().with("PORT", &port.to_string()).run(&["doctor"]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.out);
    finds(&outcome, "warn", "is answered by another program", "Choose another PORT");
}
