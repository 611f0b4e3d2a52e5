//! `omnistack doctor`: every finding with its remedy, and an exit code that scripts can use.

use crate::harness::Backend;
use crate::harness::database::Database;
use crate::harness::process::{Outcome, Place};

/// Whether a finding of that kind is followed by a line that says what to do.
#[track_caller]
fn finds(outcome: &Outcome, kind: &str, what: &str, remedy: &str) {
    let lines: Vec<&str> = outcome.out.lines().collect();
    let found = lines.windows(2).any(|pair| pair[0].starts_with(kind) && pair[0].contains(what) && pair[1].contains(remedy));
    assert!(found, "no `{kind} {what}` with `{remedy}` in\n{}{}", outcome.out, outcome.err);
}

#[tokio::test]
async fn a_new_clone_is_well_and_stays_as_it_is() {
    let place = Place::new();
    let outcome = place.run(&["doctor"]).await;
    assert_eq!(outcome.code, 0, "{}{}", outcome.out, outcome.err);
    assert!(outcome.out.contains("All is well.") && outcome.out.contains("pending; the next start applies them"), "{}", outcome.out);
    assert!(!place.path("data/secret_key").exists(), "a check must not make the secret");
    place.run(&["migrate"]).await.expect_ok();
    let said = place.run(&["doctor"]).await.expect_ok();
    for line in ["ok    configuration", "ok    folders", "ok    database", "ok    migrations     all", "ok    clock", "ok    redis"] {
        assert!(said.contains(line), "{line}:\n{said}");
    }
}

#[tokio::test]
async fn a_postgres_and_a_redis_that_answer_are_well() {
    let (true, Some(redis)) = (Backend::Postgres.is_available(), crate::harness::services::redis()) else { return };
    let database = Database::create(Backend::Postgres).await;
    let said = Place::new().with("DATABASE_URL", &database.url).with("REDIS_URL", redis).run(&["doctor"]).await.expect_ok();
    assert!(said.contains("ok    redis          answers") && said.contains("Postgres at"), "{said}");
}

#[tokio::test]
async fn every_problem_of_the_configuration_has_its_remedy() {
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
async fn a_database_that_does_not_answer_is_found() {
    let nobody = "postgres://app:hunter2@127.0.0.1:1/none";
    let outcome = Place::new().with("DATABASE_URL", nobody).run(&["doctor"]).await;
    assert_eq!(outcome.code, 1);
    finds(&outcome, "FAIL", "Postgres at 127.0.0.1/none", "Check DATABASE_URL");
    assert!(!outcome.out.contains("hunter2"), "{}", outcome.out);
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_a_warning() {
    let outcome = Place::new().with("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0").run(&["doctor"]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.out);
    finds(&outcome, "warn", "does not answer", "Check REDIS_URL");
    assert!(!outcome.out.contains("hunter2"), "{}", outcome.out);
}

#[tokio::test]
async fn pending_migrations_stop_a_server_that_may_not_apply_them() {
    let outcome = Place::new().with("RUN_MIGRATIONS", "false").run(&["doctor"]).await;
    assert_eq!(outcome.code, 1);
    finds(&outcome, "FAIL", "pending, and RUN_MIGRATIONS is false", "omnistack migrate");
}

/// A file stands where a folder should.
#[tokio::test]
async fn folders_that_cannot_be_written_are_found() {
    let place = Place::new().with("DATA_DIR", "taken").with("DATABASE_URL", "sqlite:///taken/x.db");
    place.write("taken", "a file");
    let outcome = place.run(&["doctor"]).await;
    assert_eq!(outcome.code, 1);
    finds(&outcome, "FAIL", "DATA_DIR taken", "Create the folder");
    finds(&outcome, "FAIL", "SQLite at taken/x.db", "Check DATABASE_URL");
    assert!(place.run(&[]).await.expect_refusal().contains("taken"));
}

#[tokio::test]
async fn warnings_alone_are_no_failure() {
    let outcome = Place::new().with("AUTH_PROVIDER", "clerk").run(&["doctor"]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.out);
    finds(&outcome, "warn", "AUTH_PROVIDER: has no source of keys", "CLERK_ISSUER_URL");
}
