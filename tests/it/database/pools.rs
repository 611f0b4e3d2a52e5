//! Connection pools: size, null pool, statement timeout, and the in-memory database.

use std::time::{Duration, Instant};

use http::StatusCode;
use omnistack::app::migrate;
use omnistack::platform::config::{Env, Section};
use omnistack::platform::db::{self, DatabaseUrl, Db, SqliteUrl, query};
use omnistack::platform::error::Error;
use omnistack::platform::telemetry::metrics::Metrics;
use omnistack::sql;
use serde_json::json;

use crate::harness::database::Database;
use crate::harness::process::until;
use crate::harness::{Backend, TestApp};

crate::on_both_backends![null_pool_keeps_no_connection, pool_under_load_stays_within_size];

async fn null_pool_keeps_no_connection(b: Backend) {
    let t = TestApp::with(b, &[("DB_USE_NULL_POOL", "true")]).await;
    let amy = t.user("amy").await;
    for n in 0..3 {
        amy.post("/app/projects", json!({"name": "x"})).key(&format!("k{n}")).await.expect(201);
        until("all connections are closed", async || (t.app.db.connections() == (0, 0)).then_some(())).await;
    }
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 3);
}

async fn pool_under_load_stays_within_size(b: Backend) {
    let t = TestApp::with(b, &[("DB_POOL_SIZE", "2")]).await;
    // On SQLite the one writer connection is not part of the pool size.
    let most = if b == Backend::Postgres { 2 } else { 3 };
    let amy = t.user("amy").await;
    let calls: Vec<_> = (0..30)
        .map(|n| {
            let amy = amy.clone();
            tokio::spawn(async move {
                if n % 3 == 0 {
                    amy.project("x").await;
                } else {
                    amy.get("/app/projects").await.expect(200);
                }
            })
        })
        .collect();
    while !calls.iter().all(tokio::task::JoinHandle::is_finished) {
        let (idle, active) = t.app.db.connections();
        assert!(idle + active <= most, "{idle} idle and {active} active");
        tokio::task::yield_now().await;
    }
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn postgres_statement_timeout_returns_503() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let database = Database::create(Backend::Postgres).await;
    let mut config = db::Config::read(&mut Env::from_vars([("DATABASE_URL".to_owned(), database.url.clone())]));
    config.statement_timeout = Duration::from_millis(50);
    let db = Db::connect(&config, config.url.as_ref().unwrap(), &Metrics::default()).await.unwrap();
    let started = Instant::now();
    let forever = sql!(pg: "SELECT CAST(pg_sleep(60) AS TEXT)");
    let error = Error::from(query(&db, forever).fetch_all::<(String,)>().await.unwrap_err());
    assert_eq!((error.status(), error.retry_after()), (StatusCode::SERVICE_UNAVAILABLE, Some(1)));
    assert!(started.elapsed() < Duration::from_secs(10));
    db.ping().await.unwrap();
}

/// The database exists only as long as its single connection: it must stay open, and no code may wait for a second one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_memory_database_lasts_as_long_as_server() {
    let t = TestApp::with(Backend::Sqlite, &[("DATABASE_URL", "sqlite::memory:"), ("DB_USE_NULL_POOL", "true")]).await;
    migrate::run(&t.app.db, &DatabaseUrl::Sqlite(SqliteUrl::Memory), &omnistack::features::all(), false).await.unwrap();
    let amy = t.user("amy").await;
    let made = amy.post("/app/projects", json!({"name": "Apollo"})).key("k").await.expect(201);
    let path = format!("/app/projects/{}", made["id"].as_str().unwrap());
    let again = amy.post("/app/projects", json!({"name": "Apollo"})).key("k").await.expect(201);
    assert_eq!(again, made);
    amy.patch(&path, json!({"name": "Gemini"})).await.expect(200);
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let amy = amy.clone();
            tokio::spawn(async move {
                if n % 2 == 0 { amy.project("x").await } else { amy.get("/app/projects?search=gemini").await.expect(200) }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let admin = t.admin().await;
    admin.patch("/admin/users/amy", json!({"full_name": "Amy"})).await.expect(200);
    assert_eq!(amy.get(&path).await.expect(200)["name"], "Gemini");
    amy.delete(&path).await.expect(204);
    amy.get(&path).await.expect_error(404, "NOT_FOUND");
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 10);
}
