//! A database per test, copied from a migrated template (SQLite: file copy; Postgres: `CREATE DATABASE … TEMPLATE`)
//! and dropped with the test.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use omnistack::app::migrate;
use omnistack::features;
use omnistack::platform::config::{Env, Section, Value};
use omnistack::platform::db::{self, DatabaseUrl, Db, Pools};
use omnistack::platform::telemetry::metrics::Metrics;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use tokio::sync::OnceCell;

use super::{Backend, services};

pub struct Database {
    pub url: String,
    owned: Arc<Owned>,
}

/// Removes the database when its last user is dropped.
enum Owned {
    Folder(#[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir),
    Postgres { name: String },
}

impl Database {
    pub async fn create(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => create_sqlite().await,
            Backend::Postgres => create_postgres(true).await,
        }
    }

    /// A database without tables; on SQLite the file does not exist yet.
    pub async fn empty(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                Self { url: sqlite_url(folder.path()), owned: Arc::new(Owned::Folder(folder)) }
            }
            Backend::Postgres => create_postgres(false).await,
        }
    }

    /// Another handle to the same database.
    pub fn shared(&self) -> Self {
        Self { url: self.url.clone(), owned: self.owned.clone() }
    }

    pub async fn execute(&self, db: &Db, text: &str) {
        let text = AssertSqlSafe(text.to_owned());
        match &db.pools {
            Pools::Postgres(pool) => pool.acquire().await.unwrap().execute(sqlx::raw_sql(text)).await.map(|_| ()),
            Pools::Sqlite { write, .. } => write.acquire().await.unwrap().execute(sqlx::raw_sql(text)).await.map(|_| ()),
        }
        .unwrap();
    }

    /// The last column of every row, which must be text.
    pub async fn texts(&self, db: &Db, text: &str) -> Vec<String> {
        let text = AssertSqlSafe(text.to_owned());
        match &db.pools {
            Pools::Postgres(pool) => {
                let rows = sqlx::query(text).fetch_all(&mut *pool.acquire().await.unwrap()).await.unwrap();
                rows.iter().map(|row| row.get(row.len() - 1)).collect()
            }
            Pools::Sqlite { read, .. } => {
                let rows = sqlx::query(text).fetch_all(&mut *read.acquire().await.unwrap()).await.unwrap();
                rows.iter().map(|row| row.get(row.len() - 1)).collect()
            }
        }
    }

    pub async fn number(&self, db: &Db, text: &str) -> i64 {
        let text = AssertSqlSafe(text.to_owned());
        match &db.pools {
            Pools::Postgres(pool) => sqlx::query(text).fetch_one(&mut *pool.acquire().await.unwrap()).await.unwrap().get(0),
            Pools::Sqlite { read, .. } => sqlx::query(text).fetch_one(&mut *read.acquire().await.unwrap()).await.unwrap().get(0),
        }
    }
}

/// Connects to the URL with default settings.
pub async fn connect(url: &str) -> (Db, DatabaseUrl) {
    let vars = [("DATABASE_URL".to_owned(), url.to_owned()), ("DB_POOL_SIZE".to_owned(), "2".to_owned())];
    let config = db::Config::read(&mut Env::from_vars(vars));
    let url = DatabaseUrl::parse(url).unwrap();
    (Db::connect(&config, &url, &Metrics::default()).await.unwrap(), url)
}

async fn migrated(url: &str) {
    let (db, url) = connect(url).await;
    migrate::run(&db, &url, &features::all(), false).await.unwrap();
    db.close().await;
}

async fn create_sqlite() -> Database {
    static TEMPLATE: OnceCell<tempfile::TempDir> = OnceCell::const_new();
    let template = TEMPLATE
        .get_or_init(|| async {
            let folder = tempfile::tempdir().unwrap();
            migrated(&sqlite_url(folder.path())).await;
            folder
        })
        .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(template.path().join("test.db"), folder.path().join("test.db")).unwrap();
    Database { url: sqlite_url(folder.path()), owned: Arc::new(Owned::Folder(folder)) }
}

fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:///{}/test.db", folder.display())
}

async fn create_postgres(from_template: bool) -> Database {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let name = format!("omnistack_test_{}_{}", std::process::id(), uuid::Uuid::now_v7().simple());
    let mut connection = administer().await;
    let template = if from_template { TEMPLATE.get_or_init(postgres_template).await } else { "template0" };
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"))).await.unwrap();
    connection.close().await.unwrap();
    Database { url: postgres_url(&name), owned: Arc::new(Owned::Postgres { name }) }
}

/// A migrated template, named by a hash of the migrations. The first test process creates it.
async fn postgres_template() -> String {
    let mut hasher = DefaultHasher::new();
    for entry in std::fs::read_dir("migrations/postgres").unwrap().collect::<Result<Vec<_>, _>>().unwrap() {
        (entry.file_name(), std::fs::read(entry.path()).unwrap()).hash(&mut hasher);
    }
    let name = format!("omnistack_test_template_{:016x}", hasher.finish());
    let mut connection = administer().await;
    connection.execute("SELECT pg_advisory_lock(20260110)").await.unwrap();
    drop_orphans(&mut connection).await;
    let there = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(&name).fetch_optional(&mut connection).await.unwrap();
    if there.is_none() {
        // Created under a draft name, because an interrupted run must not leave an incomplete template.
        let draft = format!("{name}_draft");
        connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)"))).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {draft} TEMPLATE template0"))).await.unwrap();
        migrated(&postgres_url(&draft)).await;
        connection.execute(AssertSqlSafe(format!("ALTER DATABASE {draft} RENAME TO {name}"))).await.unwrap();
    }
    connection.close().await.unwrap();
    name
}

/// Drops the databases of killed test processes.
async fn drop_orphans(connection: &mut PgConnection) {
    let rows =
        sqlx::query("SELECT datname FROM pg_database WHERE datname LIKE 'omnistack\\_test\\_%'").fetch_all(&mut *connection).await.unwrap();
    for name in rows.iter().map(|row| row.get::<String, _>(0)) {
        let owner = name.strip_prefix("omnistack_test_").and_then(|rest| rest.split('_').next()).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another process may drop it at the same time.
            let _ = connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await;
        }
    }
}

async fn administer() -> PgConnection {
    let options = PgConnectOptions::from_str(services::postgres().unwrap()).unwrap();
    PgConnection::connect_with(&options).await.unwrap()
}

fn postgres_url(name: &str) -> String {
    let mut url = url::Url::parse(services::postgres().unwrap()).unwrap();
    url.set_path(name);
    url.to_string()
}

impl Drop for Owned {
    fn drop(&mut self) {
        let Self::Postgres { name, .. } = self else { return };
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        // A separate thread, because the runtime of the test may be shutting down.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { administer().await.execute(AssertSqlSafe(drop)).await.map(|_| ()) })
        });
        let _ = dropped.join();
    }
}
