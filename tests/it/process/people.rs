//! Commands about users and jobs: whom a text names, secrets that stay off the command line, the last administrator.

use serde_json::json;

use crate::harness::Backend;
use crate::harness::database::Database;
use crate::harness::process::{Place, Server};
use crate::harness::tokens::{base64url, seal, signed_part};

const SECRET: &str = "an-issuers-secret-of-32-characters-or-more";

/// Lets a user of an external issuer make their first request, with these claims.
async fn arrive(server: &Server, subject: &str, claims: &serde_json::Value) -> serde_json::Value {
    let mut body = claims.clone();
    body["sub"] = subject.into();
    body["exp"] = 4_000_000_000_i64.into();
    let token = seal(&signed_part(r#"{"alg":"HS256","typ":"JWT"}"#, body.to_string()), SECRET.as_bytes());
    server.client(Some(token)).get("/app/users/me").await.expect(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_means_the_user_with_exactly_this_id() {
    for b in [Backend::Sqlite, Backend::Postgres] {
        if !b.is_available() {
            continue;
        }
        let database = Database::create(b).await;
        let place = Place::new()
            .with("DATABASE_URL", &database.url)
            .with("AUTH_PROVIDER", "supabase")
            .with("SUPABASE_JWT_SECRET", SECRET)
            .with("RATE_LIMIT_DEFAULT", "1000000/minute");
        let server = place.serve().await;
        let bea = "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d";
        // Eve claims Bea's id as her address, in every claim that she can write.
        for (n, claims) in
            [json!({"user_metadata": {"email": bea}}), json!({"email": bea}), json!({"app_metadata": {"email": bea}})].iter().enumerate()
        {
            let eve = arrive(&server, &format!("eve-{n}"), claims).await;
            assert_eq!(eve["email"], format!("eve-{n}@placeholder.local"));
        }
        arrive(&server, bea, &json!({"email": "bea@example.com"})).await;
        let said = place.run(&["users", "promote", bea, "--role", "admin"]).await.expect_ok();
        assert_eq!(said, format!("bea@example.com ({bea}) is admin, active\n"));

        // Some issuers use addresses as subjects: a text that names two users is refused by every command.
        arrive(&server, "twin@example.com", &json!({"email": "one@example.com"})).await;
        arrive(&server, "two", &json!({"email": "twin@example.com"})).await;
        for args in [
            &["users", "promote", "twin@example.com", "--role", "superadmin"][..],
            &["users", "deactivate", "twin@example.com"],
            &["users", "activate", "twin@example.com"],
            &["users", "erase", "twin@example.com", "--yes"],
            &["token", "--email", "twin@example.com"],
        ] {
            let said = place.run(args).await.expect_refusal();
            assert!(said.contains("one@example.com") && said.contains("(two)") && said.lines().count() == 1, "{args:?}: {said}");
        }
        for (text, named) in [("two", "twin@example.com (two)"), (" ONE@example.com", "one@example.com (twin@example.com)")] {
            let said = place.run(&["users", "deactivate", text]).await.expect_ok();
            assert!(said.starts_with(&format!("{named} is user, deactivated\n")), "{said}");
        }
        // An id that is the user's own address names one user.
        arrive(&server, "same@example.com", &json!({"email": "same@example.com"})).await;
        place.run(&["users", "promote", "same@example.com", "--role", "admin"]).await.expect_ok();
        let token = place.run(&["token", "--email", bea]).await.expect_ok();
        assert!(token.contains(&base64url(r#"{"typ":"JWT","alg":"HS256"}"#)), "{token}");
        assert_eq!(server.client(Some(token.trim().to_owned())).get("/app/users/me").await.expect(200)["id"], bea);
    }
}

#[tokio::test]
async fn jobs_run_refuses_secret_on_command_line() {
    let place = Place::new();
    place.run(&["migrate"]).await.expect_ok();
    let mail = json!({"email": "ada@example.com", "reset_link": "https://app.example.com/?token=hunter2"}).to_string();
    let said = place.run(&["jobs", "run", "send_password_reset_email", &mail]).await.expect_refusal();
    assert!(said.contains("reset_link is a secret") && said.contains('-') && !said.contains("hunter2"), "{said}");
    place.run(&["jobs", "run", "app.jobs.email_jobs.send_password_reset_email", &mail]).await.expect_refusal();
    assert!(place.run(&["jobs", "list"]).await.expect_ok().starts_with("0 of 0 jobs"));
    place.run_with(&["jobs", "run", "send_password_reset_email", "-"], &mail).await.expect_ok();
    let list = place.run(&["jobs", "list"]).await.expect_ok();
    assert!(list.contains("complete") && list.contains("***") && !list.contains("hunter2"), "{list}");
    let said = place.run_with(&["jobs", "run", "send_password_reset_email", "-"], "no JSON").await.expect_refusal();
    assert!(said.contains("standard input holds no JSON"), "{said}");
    for help in [&["jobs", "run", "--help"][..], &["seed", "--help"]] {
        let said = place.run(help).await.expect_ok();
        assert!(said.contains("visible to other users"), "{said}");
    }
}

#[tokio::test]
async fn users_command_warns_when_no_admin_is_left() {
    let place = Place::new();
    let made = |said: &str| said.contains("warning: no active user has an administrator's role");
    let said = place.run(&["users", "create", "ada@example.com", "--role", "admin"]).await.expect_ok();
    assert!(!made(&said), "{said}");
    place.run(&["users", "create", "bea@example.com", "--role", "superadmin"]).await.expect_ok();
    assert!(!made(&place.run(&["users", "deactivate", "bea@example.com"]).await.expect_ok()));
    for take in [&["users", "deactivate", "ada@example.com"][..], &["users", "promote", "ada@example.com", "--role", "user"]] {
        let said = place.run(take).await.expect_ok();
        assert!(made(&said), "the operator may, and is told: {said}");
        place.run(&["users", "promote", "ada@example.com", "--role", "admin"]).await.expect_ok();
        assert!(!made(&place.run(&["users", "activate", "ada@example.com"]).await.expect_ok()));
    }
    assert!(made(&place.run(&["users", "erase", "ada@example.com", "--yes"]).await.expect_ok()));
}
