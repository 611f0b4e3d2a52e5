//! The database goes wrong while the server runs, and comes back: dead connections, fail-over, changed columns, a full disk.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::harness::database::Database;
use crate::harness::{Backend, Client, TestApp, eventually};

/// Maximum time of one request while the database does not answer: five seconds, and a busy machine.
const ONE_WAIT: Duration = Duration::from_millis(7500);
/// Time after which full capacity must be back.
const RECOVERY: Duration = Duration::from_secs(10);

/// Statuses of this many requests at once, which need a connection each.
async fn at_once(client: &Client, count: usize) -> Vec<u16> {
    join_all((0..count).map(|_| async {
        let started = Instant::now();
        let reply = client.get("/app/projects").await;
        assert!(started.elapsed() < ONE_WAIT, "one request took {:?}", started.elapsed());
        reply.status.as_u16()
    }))
    .await
}

async fn readiness(client: &Client) -> (u16, Value) {
    let reply = client.get("/public/health/ready").await;
    (reply.status.as_u16(), reply.json()["components"]["database"].clone())
}

/// A session with the server, outside of the database under test.
async fn administer(t: &TestApp) -> (PgConnection, String) {
    let mut url = url::Url::parse(t.database_url()).unwrap();
    let name = url.path().trim_start_matches('/').to_owned();
    url.set_path("postgres");
    (PgConnection::connect(url.as_str()).await.unwrap(), name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_dead_in_use_are_replaced_within_10_s() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let (t, proxy) = TestApp::behind_proxy(&[("DB_POOL_SIZE", "4")]).await;
    let amy = t.user("amy").await;
    amy.project("Apollo").await;
    assert_eq!(at_once(&amy, 20).await, [200; 20], "all connections are open");

    proxy.forget();
    let started = Instant::now();
    let during = at_once(&amy, 20).await;
    assert!(during.iter().all(|status| [200, 503].contains(status)), "{during:?}");
    eventually("full capacity is back", async || at_once(&amy, 20).await == [200; 20]).await;
    assert!(started.elapsed() < RECOVERY, "after {:?}", started.elapsed());
    assert_eq!(readiness(&amy).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_dead_while_idle_cost_one_ping() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let (t, proxy) = TestApp::behind_proxy(&[("DB_POOL_SIZE", "4")]).await;
    let amy = t.user("amy").await;
    at_once(&amy, 20).await;
    proxy.forget();
    // Not a wait for an event: connections that were used a moment ago are not pinged.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let started = Instant::now();
    amy.get("/app/projects").await.expect(200);
    assert!(started.elapsed() < Duration::from_secs(3), "one ping of a second, but {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(at_once(&amy, 8).await, [200; 8]);
    assert!(started.elapsed() < Duration::from_millis(900), "the others are not pinged, but {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_server_answers_503_and_writes_come_back() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let t = TestApp::start(Backend::Postgres).await;
    let amy = t.user("amy").await;
    let project = format!("/app/projects/{}", amy.project("Apollo").await["id"].as_str().unwrap());
    let (mut server, name) = administer(&t).await;
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");

    server.execute(AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))).await.unwrap();
    server.execute(AssertSqlSafe(end)).await.unwrap();
    eventually("reads work again", async || amy.get(&project).await.status == 200).await;
    for _ in 0..5 {
        for reply in [
            amy.post("/app/projects", json!({"name": "x"})).await,
            amy.post("/app/projects", json!({"name": "x"})).key("k").await,
            amy.patch(&project, json!({"name": "Gemini"})).await,
        ] {
            assert_eq!(reply.header("retry-after"), Some("1"), "{}", reply.text());
            reply.expect_error(503, "SERVICE_UNAVAILABLE");
        }
        amy.get(&project).await.expect(200);
    }
    assert_eq!(readiness(&amy).await, (503, json!({"status": "unhealthy", "error": "database takes no writes"})));

    server.execute(AssertSqlSafe(format!("ALTER DATABASE {name} RESET default_transaction_read_only"))).await.unwrap();
    let started = Instant::now();
    eventually("writes work again", async || amy.patch(&project, json!({"name": "Gemini"})).await.status == 200).await;
    for _ in 0..8 {
        amy.patch(&project, json!({"name": "Gemini"})).await.expect(200);
    }
    assert!(started.elapsed() < RECOVERY, "after {:?}", started.elapsed());
    assert_eq!(readiness(&amy).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn column_type_changed_while_running_is_not_noticed() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let t = TestApp::start(Backend::Postgres).await;
    let amy = t.user("amy").await;
    let project = format!("/app/projects/{}", amy.project("Apollo").await["id"].as_str().unwrap());
    let use_all = async || {
        assert_eq!(at_once(&amy, 8).await, [200; 8]);
        amy.get(&project).await.expect(200);
        amy.patch(&project, json!({"name": "Gemini"})).await.expect(200);
        amy.post("/app/projects", json!({"name": "x"})).await.expect(201);
        amy.post("/app/projects", json!({"name": "x"})).key(&uuid::Uuid::now_v7().to_string()).await.expect(201);
    };
    use_all().await;
    for kind in ["text", "varchar(400)", "text"] {
        t.sql(&format!("ALTER TABLE projects ALTER COLUMN name TYPE {kind}")).await;
        t.sql(&format!("ALTER TABLE users ALTER COLUMN full_name TYPE {kind}")).await;
        use_all().await;
    }
}

/// A file system of this size, gone with the value. `None` where none may be mounted.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(folder.path()).output();
        let ok = mounted.is_ok_and(|output| output.status.success());
        assert!(ok || std::env::var("REQUIRE_SERVICES").is_err(), "a small file system is required, but cannot be mounted");
        ok.then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills what room is left.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.path().join("filler")).unwrap();
        for size in [65536, 4096, 512, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may still have files open.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_answers_503_and_writes_come_back() {
    let Some(disk) = SmallDisk::mount() else { return };
    let database = Database::create(Backend::Sqlite).await;
    let file = database.url.strip_prefix("sqlite:///").unwrap();
    std::fs::copy(file, disk.path().join("test.db")).unwrap();
    let url = format!("sqlite:///{}/test.db", disk.path().display());
    let t = TestApp::on(database, &[("DATABASE_URL", url.as_str())]).await;
    let amy = t.user("amy").await;
    let project = format!("/app/projects/{}", amy.project("Apollo").await["id"].as_str().unwrap());
    let write = async |key: usize| {
        let text = "x".repeat(2000);
        let alone = amy.patch(&project, json!({"description": text})).await;
        let together = amy.post("/app/projects", json!({"name": "x", "description": text})).key(&format!("k{key}")).await;
        [alone, together]
    };
    for round in 0..3 {
        disk.fill();
        let mut key = 0;
        let mut refused = 0;
        while refused < 6 {
            key += 1;
            assert!(key < 2000, "the disk is never full");
            for reply in write(key).await {
                if !reply.status.is_success() {
                    refused += 1;
                    reply.expect_error(503, "SERVICE_UNAVAILABLE");
                }
            }
        }
        assert_eq!(readiness(&amy).await, (503, json!({"status": "unhealthy", "error": "database takes no writes"})), "round {round}");
        amy.get(&project).await.expect(200);
        disk.free();
        for reply in write(10_000 + round).await {
            assert!(reply.status.is_success(), "round {round}: {}", reply.text());
        }
        assert_eq!(readiness(&amy).await.0, 200, "round {round}");
    }
}
