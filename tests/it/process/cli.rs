//! Command line: output, refusals, and masking of secrets.

use serde_json::{Value, json};

use crate::harness::Backend;
use crate::harness::database::Database;
use crate::harness::process::Place;

const ISSUER_SECRET: &str = "an-issuers-secret-of-32-characters-or-more";

#[tokio::test]
async fn migrate_command_lists_and_applies_pending() {
    for b in [Backend::Sqlite, Backend::Postgres] {
        if !b.is_available() {
            continue;
        }
        let database = Database::empty(b).await;
        let place = Place::new().with("DATABASE_URL", &database.url);
        let status = place.run(&["migrate", "--status"]).await.expect_ok();
        assert!(status.lines().all(|line| line.ends_with("pending")) && status.starts_with("0001 users"), "{status}");
        let dry = place.run(&["migrate", "--dry-run"]).await.expect_ok();
        assert!(dry.contains("would apply 0001 users"), "{dry}");
        assert!(place.run(&["migrate", "--status"]).await.expect_ok().contains("pending"));
        assert!(place.run(&["migrate"]).await.expect_ok().contains("applied 0001 users"));
        let status = place.run(&["migrate", "--status"]).await.expect_ok();
        assert!(status.lines().count() >= 5 && status.lines().all(|line| line.ends_with("applied")), "{status}");
        for args in [&["migrate"][..], &["migrate", "--dry-run"]] {
            assert_eq!(place.run(args).await.expect_ok(), "nothing to do: the database is up to date\n");
        }
        assert_ne!(place.run(&["migrate", "--status", "--dry-run"]).await.code, 0);
        assert!(place.files().is_empty(), "migrations create no secret file: {:?}", place.files());
    }
}

#[tokio::test]
async fn openapi_command_prints_every_route() {
    let place = Place::bare().with("PROJECT_NAME", "Acme");
    let printed = place.run(&["openapi"]).await.expect_ok();
    assert_eq!(place.run(&["openapi", "--api-version", "v1"]).await.expect_ok(), printed);
    let second = place.run(&["openapi", "--api-version", "V2"]).await.expect_ok();
    let documents: Vec<Value> = [printed, second].iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert!(documents.iter().all(|document| document["info"]["title"] == "Acme"));
    let unknown = place.run(&["openapi", "--api-version", "v3"]).await;
    assert!(unknown.code != 0 && unknown.err.contains("one of v1, v2"), "{}", unknown.err);
    let routes = place.run(&["routes"]).await.expect_ok();
    let listed: Vec<Vec<&str>> = routes.lines().map(|line| line.split_whitespace().collect()).collect();
    let paths = documents.iter().flat_map(|document| document["paths"].as_object().unwrap().values());
    let operations: usize = paths.map(|item| item.as_object().unwrap().len()).sum();
    let mut in_document = 0;
    for row in &listed {
        let [method, path, access, limit, feature] = row.as_slice() else { panic!("{row:?}") };
        in_document += documents.iter().filter(|document| document["paths"][*path][method.to_lowercase()].is_object()).count();
        assert!(["public", "user", "admin", "self-verifying", "developer"].contains(access), "{row:?}");
        assert!(["default", "auth", "ai", "webhook", "none"].contains(limit), "{row:?}");
        assert!(omnistack::features::all().iter().any(|known| known.name() == *feature), "{row:?}");
    }
    assert_eq!(in_document, operations);
    assert!(place.files().is_empty(), "read-only commands create no files");
}

#[tokio::test]
async fn routes_command_lists_every_route() {
    let place = Place::bare();
    let (routes, markdown) = (place.run(&["routes"]).await.expect_ok(), place.run(&["routes", "--markdown"]).await.expect_ok());
    for record in omnistack::boot::router::routes(&omnistack::features::all()) {
        for method in &record.methods {
            let line = routes.lines().find(|line| line.split_whitespace().take(2).eq([method.as_str(), record.template.as_str()]));
            assert!(line.is_some_and(|line| line.contains(record.policy.access.name())), "{method} {}", record.template);
            assert!(markdown.contains(&format!("| {method} | `{}` |", record.template)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_command_local_provider_prints_a_valid_token() {
    let place = Place::new();
    let server = place.serve().await;
    for _ in 0..2 {
        // The first call creates the user, the second call finds the existing user.
        let token = place.run(&["token", "--email", "Ada@Example.com"]).await.expect_ok();
        let me = server.client(Some(token.trim().to_owned())).get("/app/users/me").await.expect(200);
        assert_eq!((me["email"].as_str(), me["role"].as_str()), (Some("ada@example.com"), Some("user")));
    }
    let said = place.run(&["token", "--email", "nonsense"]).await.expect_refusal();
    assert!(said.contains("must be an e-mail address"), "{said}");
    assert_ne!(place.run(&["token"]).await.code, 0);

    // A promotion while the server runs takes effect when the server next reads the user's row.
    let token = place.run(&["token", "--email", "bea@example.com"]).await.expect_ok();
    let said = place.run(&["users", "promote", " BEA@example.com", "--role", "admin"]).await.expect_ok();
    assert!(said.contains("is admin, active"), "{said}");
    let bea = server.client(Some(token.trim().to_owned()));
    assert_eq!(bea.get("/admin/users").await.expect(200)["total"], 3);
    let said = place.run(&["users", "promote", "nobody@example.com", "--role", "admin"]).await.expect_refusal();
    assert!(said.contains("no user"), "{said}");
    assert_ne!(place.run(&["users", "promote", "ada@example.com", "--role", "king"]).await.code, 0);

    // A deactivated user gets no token.
    let token = place.run(&["token", "--email", "ada@example.com"]).await.expect_ok();
    let ada = server.client(Some(token.trim().to_owned()));
    ada.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
    let id = ada.get("/app/users/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    bea.patch(&format!("/admin/users/{id}"), json!({"is_active": false})).await.expect(200);
    let said = place.run(&["token", "--email", "ada@example.com"]).await.expect_refusal();
    assert!(said.contains("deactivated"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_command_shared_secret_signs_as_issuer() {
    let place = Place::new()
        .with("AUTH_PROVIDER", "custom")
        .with("OAUTH_JWT_SECRET", ISSUER_SECRET)
        .with("OAUTH_ISSUER", "https://issuer.example")
        .with("OAUTH_AUDIENCE", "our-api");
    let token = place.run(&["token", "--email", "ada@example.com"]).await.expect_ok();
    let server = place.serve().await;
    let me = server.client(Some(token.trim().to_owned())).get("/app/users/me").await.expect(200);
    assert_eq!(me["email"], "ada@example.com");
    assert!(!token.contains(ISSUER_SECRET));
}

#[tokio::test]
async fn token_command_without_signing_key_is_refused() {
    let jwks = Place::new().with("AUTH_PROVIDER", "custom").with("OAUTH_JWKS_URL", "https://issuer.example/jwks");
    let said = jwks.run(&["token", "--email", "ada@example.com"]).await.expect_refusal();
    assert!(said.contains("tokens come from the issuer") && said.contains("AUTH_PROVIDER=custom"), "{said}");
    let production = Place::new()
        .with("ENVIRONMENT", "production")
        .with("SECRET_KEY", "0123456789abcdef0123456789abcdef")
        .with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .with("PUBLIC_BASE_URL", "https://api.example.com")
        .with("BACKEND_CORS_ORIGINS", "https://app.example.com");
    let outcome = production.run(&["token", "--email", "ada@example.com"]).await;
    assert!(outcome.out.is_empty());
    let said = outcome.expect_refusal();
    assert!(said.contains("refused in production"), "{said}");
}

#[tokio::test]
async fn config_command_masks_secrets() {
    let secrets = [
        ("SECRET_KEY", "hunter2-secret-key-of-32-characters!!".to_owned()),
        ("DATABASE_URL", "postgres://app:hunter2-db@db.internal:5432/app?sslmode=require".to_owned()),
        ("REDIS_URL", "redis://:hunter2-redis@cache.internal:6379/0".to_owned()),
        ("METRICS_TOKEN", "hunter2-metrics".to_owned()),
        ("OAUTH_JWT_SECRET", "hunter2-oauth-secret-of-32-characters".to_owned()),
        ("SUPABASE_JWT_SECRET", "hunter2-supabase".to_owned()),
        ("PUBLIC_BASE_URL", "https://user:hunter2-url@api.example.com".to_owned()),
    ];
    let place = secrets.iter().fold(Place::bare(), |place, (name, value)| place.with(name, value));
    let shown = place.run(&["config"]).await.expect_ok();
    assert!(!shown.contains("hunter2"), "{shown}");
    for (name, _) in &secrets {
        assert!(shown.lines().any(|line| line.trim_start().starts_with(&format!("{name} ")) && line.contains("***")), "{name}:\n{shown}");
    }
    assert!(shown.contains("db.internal:5432/app"), "the rest of the URL is shown: {shown}");
    assert!(shown.lines().any(|line| line.contains("PORT") && line.ends_with("8000  (default)")), "{shown}");
    let in_query = place.with("DATABASE_URL", "postgres:///app?host=/run/postgresql&password=hunter2");
    let shown = in_query.run(&["config"]).await.expect_ok();
    assert!(!shown.contains("hunter2"), "{shown}");
}
