//! Postgres behind `PgBouncer` in transaction mode.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::database::Database;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::process::Place;
use crate::harness::{Backend, TestApp};

/// A pooler in front of a new database.
fn pooled(database: &Database) -> Option<(PgBouncer, String)> {
    let pooler = PgBouncer::start()?;
    let url = pooler.before(&database.url);
    Some((pooler, url))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_four_instances_start_and_migrate_once() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let database = Database::empty(Backend::Postgres).await;
    let Some((_pooler, url)) = pooled(&database) else { return };
    let place = Place::new().with("DATABASE_URL", &url).with("DB_PGBOUNCER", "true");
    let servers = join_all((0..4).map(|_| place.serve())).await;
    let outputs: Vec<String> = servers.iter().map(crate::harness::process::Server::output).collect();
    let applied = outputs.iter().filter(|output| output.contains("migration applied")).count();
    assert_eq!(applied, 1, "{outputs:#?}");
    let doctor = place.run(&["doctor"]).await.expect_ok();
    assert!(doctor.contains("ok    database"), "{doctor}");
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_serves_requests_transactions_and_jobs() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let database = Database::create(Backend::Postgres).await;
    let Some((_pooler, url)) = pooled(&database) else { return };
    let vars = [("DATABASE_URL", url.as_str()), ("DB_PGBOUNCER", "true")];
    let t = TestApp::on(database, &vars).await;
    let other = t.second(&vars).await;
    let working = t.worker(t.settings());
    let amy = t.user("amy").await;
    // Two instances with more clients than the pooler has sessions: each statement may run in another one.
    join_all((0..40).map(|n| {
        let (client, amy) = (if n % 2 == 0 { amy.clone() } else { other.with_token(amy.token.as_ref().unwrap()) }, amy.clone());
        async move {
            let made = client.post("/app/projects", json!({"name": format!("p{n}")})).key(&format!("k{n}")).await.expect(201);
            let again = client.post("/app/projects", json!({"name": format!("p{n}")})).key(&format!("k{n}")).await.expect(201);
            assert_eq!(again, made);
            let path = format!("/app/projects/{}", made["id"].as_str().unwrap());
            amy.patch(&path, json!({"description": "x"})).await.expect(200);
            assert_eq!(client.get(&path).await.expect(200)["description"], "x");
            client.get("/app/projects?search=p&limit=5").await.expect(200);
        }
    }))
    .await;
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 40);
    let (_, outcome) = t.run_function("generate_daily_report", json!({})).await.unwrap();
    assert_eq!(outcome.unwrap()["total_users"], 1);
    assert_eq!(amy.get("/public/health/ready").await.expect(200)["status"], "healthy");
    working.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_without_its_setting_is_named_by_doctor() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let database = Database::create(Backend::Postgres).await;
    let Some((_pooler, url)) = pooled(&database) else { return };
    let place = Place::new().with("DATABASE_URL", &url);
    let doctor = place.run(&["doctor"]).await;
    assert_eq!(doctor.code, 1, "{}", doctor.out);
    assert!(doctor.out.contains("set DB_PGBOUNCER=true"), "{}", doctor.out);
    let said = place.run(&[]).await.expect_refusal();
    assert!(said.contains("set DB_PGBOUNCER=true"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_with_direct_url_migrates_past_the_pooler() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let database = Database::empty(Backend::Postgres).await;
    let Some((_pooler, url)) = pooled(&database) else { return };
    let place = Place::new().with("DATABASE_URL", &url).with("DB_PGBOUNCER", "true").with("DATABASE_DIRECT_URL", &database.url);
    let said = place.run(&["migrate"]).await.expect_ok();
    assert!(said.contains("applied 0001 users"), "{said}");
    place.serve().await.stop().await;
}
