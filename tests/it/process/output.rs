//! Broken standard output: a full disk, a closed pipe. No panic, and nothing is made whose only trace was in the output.

use std::process::Stdio;

use serde_json::json;

use crate::harness::Backend;
use crate::harness::database::Database;
use crate::harness::process::{Outcome, Place, banner_password};

/// A device that refuses every write, as a full disk does.
fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// The writing end of a pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Checks that the command failed, with one line that says why.
#[track_caller]
fn reported(what: &str, outcome: Outcome) {
    let said = outcome.expect_refusal();
    // The log of authentication events goes to standard error as well.
    let lines: Vec<&str> = said.lines().filter(|line| !line.contains("authentication event")).collect();
    assert!(lines.len() == 1 && lines[0].contains("standard output cannot be written"), "{what}: {said}");
}

#[tokio::test]
async fn command_with_broken_output_fails_with_one_line() {
    let place = Place::new();
    place.run(&["migrate"]).await.expect_ok();
    for args in [
        &["routes"][..],
        &["openapi"],
        &["config"],
        &["config", "--env-example"],
        &["migrate", "--status"],
        &["doctor"],
        &["jobs", "list"],
        &["jobs", "functions"],
        &["jobs", "run", "generate_daily_report"],
        &["token", "--email", "ada@example.com"],
        &["users", "promote", "ada@example.com", "--role", "admin"],
        &["users", "list"],
        &["--help"],
        &["--version"],
    ] {
        let what = args.join(" ");
        reported(&what, place.run_into(args, full()).await);
        reported(&what, place.run_into(args, closed()).await);
    }
    let wrong = place.run(&["users", "fly"]).await;
    assert_eq!((wrong.code, wrong.err.contains("unrecognized subcommand")), (2, true), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_whose_password_is_not_shown_is_not_made() {
    for b in [Backend::Sqlite, Backend::Postgres] {
        if !b.is_available() {
            continue;
        }
        let database = Database::empty(b).await;
        let place = Place::new().with("DATABASE_URL", &database.url);
        let create = ["users", "create", "ada@example.com", "--role", "admin"];
        for output in [full(), closed()] {
            reported("create", place.run_into(&create, output).await);
        }
        for output in [full(), closed()] {
            reported("seed", place.run_into(&["seed"], output).await);
        }
        assert_eq!(place.run(&["users", "list"]).await.expect_ok(), "");
        let said = place.run(&create).await.expect_ok();
        let password = said.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
        let server = place.serve().await;
        let log_in = json!({"email": "ada@example.com", "password": password});
        server.client(None).post("/public/auth/login", log_in).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_start_with_broken_output_makes_no_admin() {
    let place = Place::new();
    for output in [full(), closed()] {
        let outcome = place.run_into(&["serve"], output).await;
        let said = outcome.expect_refusal();
        assert!(said.lines().count() == 1 && said.contains("the first administrator is not made"), "{said}");
    }
    let server = place.serve().await;
    server.admin(&banner_password(&server.output())).await;
}

/// A server with nothing to lose in its banner serves without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_start_with_broken_output_serves() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::bare().with("PORT", &port.to_string());
    let server = place.serve().await;
    let password = banner_password(&server.output());
    server.stop().await;
    let mut server = place.spawn_into(&["serve"], full());
    server.url = format!("http://127.0.0.1:{port}");
    crate::harness::eventually("the server answers", async || {
        let ready = reqwest::get(format!("{}/api/v1/public/health/ready", server.url)).await;
        ready.is_ok_and(|reply| reply.status() == 200)
    })
    .await;
    server.admin(&password).await;
    let said = server.stop().await;
    assert!(said.contains("the banner is not shown"), "{said}");
}
