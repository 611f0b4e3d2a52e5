//! Databases that cannot be used as they are, and the modes of files that hold data.

use omnistack::platform::config::{Env, Section};
use omnistack::platform::db::{self, Db};
use omnistack::platform::telemetry::metrics::Metrics;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::harness::Backend;
use crate::harness::database::Database;
use crate::harness::process::{Place, mode, until};
use crate::harness::services;

/// A database of another encoding, dropped with the value.
async fn encoded(encoding: &str) -> (Database, String) {
    let neighbour = Database::empty(Backend::Postgres).await;
    let mut url = url::Url::parse(&neighbour.url).unwrap();
    let name = format!("{}_{}", url.path().trim_start_matches('/'), encoding.to_lowercase());
    let mut server = PgConnection::connect(services::postgres().unwrap()).await.unwrap();
    let text = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
    server.execute(AssertSqlSafe(text)).await.unwrap();
    url.set_path(&name);
    (neighbour, url.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_of_another_encoding_is_refused_at_start() {
    if !Backend::Postgres.is_available() {
        return;
    }
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let (_neighbour, url) = encoded(encoding).await;
        let place = Place::new().with("DATABASE_URL", &url);
        let said = place.run(&[]).await.expect_refusal();
        assert!(said.contains(encoding) && said.contains("UTF8"), "{said}");
        let doctor = place.run(&["doctor"]).await;
        assert_eq!(doctor.code, 1, "{}", doctor.out);
        assert!(doctor.out.contains("FAIL  database") && doctor.out.contains(encoding), "{}", doctor.out);
        let mut server = PgConnection::connect(services::postgres().unwrap()).await.unwrap();
        let name = url::Url::parse(&url).unwrap().path().trim_start_matches('/').to_owned();
        server.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_held_by_another_are_waited_for_with_a_line() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let database = Database::empty(Backend::Postgres).await;
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    other.execute("SELECT pg_advisory_lock(8029195109859090787)").await.unwrap();
    let place = Place::new().with("DATABASE_URL", &database.url);
    let server = place.spawn(&[]);
    until("the wait is logged", async || server.output().contains("waiting for another instance's migrations").then_some(())).await;
    other.close().await.unwrap();
    until("the server is ready", async || server.output().contains("ready").then_some(())).await;
    assert_eq!(server.output().matches("waiting for another instance's migrations").count(), 1, "{}", server.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_files_are_not_readable_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/dev.db");
    let vars = [("DATABASE_URL".to_owned(), format!("sqlite:///{}", path.display()))];
    let config = db::Config::read(&mut Env::from_vars(vars));
    let db = Db::connect(&config, config.url.as_ref().unwrap(), &Metrics::default()).await.unwrap();
    omnistack::app::migrate::run(&db, config.url.as_ref().unwrap(), &omnistack::features::all(), false).await.unwrap();
    assert_eq!(mode(&folder.path().join("new")), 0o700);
    for file in ["dev.db", "dev.db-wal", "dev.db-shm", "dev.db.migrate"] {
        assert_eq!(mode(&folder.path().join("new").join(file)) & 0o077, 0, "{file} is for its owner");
    }
}
