//! The database's pools: opening, closing and connection counts.

use std::sync::Arc;

use super::config::{Config, DatabaseUrl};
use super::connections::{ACQUIRE_TIMEOUT, Kept, Pool};
use super::sql::Sql;
use super::stats::Stats;
#[cfg(feature = "sqlite")]
use crate::platform::private_files;
use crate::platform::telemetry::metrics::Metrics;

#[cfg(feature = "sqlite")]
use super::config::SqliteUrl;
#[cfg(feature = "postgres")]
use super::session::Session;
#[cfg(feature = "postgres")]
use sqlx::postgres::Postgres;
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

/// For claims, completions and leases at the same time, plus one spare.
#[cfg(feature = "postgres")]
const QUEUE_CONNECTIONS: u32 = 4;
/// Kept open when unused, because a new connection costs a request several round trips.
const IDLE_CONNECTIONS: usize = 2;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pub pools: Pools,
    pub(super) stats: Arc<Stats>,
    #[cfg(feature = "postgres")]
    pub(super) session: Arc<Session>,
}

/// The pools of the database's engine.
///
/// SQLite takes one writer at a time, so `write` holds one connection: writers queue in the pool instead of running into
/// `SQLITE_BUSY`. `read` cannot write (`query_only`) and, thanks to WAL, never waits for it.
#[derive(Clone)]
pub enum Pools {
    #[cfg(feature = "postgres")]
    Postgres(Pool<Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite { read: Pool<Sqlite>, write: Pool<Sqlite> },
}

impl Db {
    /// Opens the pools. Postgres is not contacted yet; a SQLite file is created if needed.
    pub async fn connect(config: &Config, url: &DatabaseUrl, metrics: &Metrics) -> anyhow::Result<Self> {
        let kept = if config.null_pool { Kept::Never } else { Kept::Until { age: config.recycle, idle: IDLE_CONNECTIONS } };
        #[cfg(feature = "postgres")]
        let session = Arc::new(Session::new(config));
        let pools = match url {
            #[cfg(feature = "postgres")]
            DatabaseUrl::Postgres(url) => Pools::Postgres(Pool::new(session.options(url)?, config.pool_size, kept)),
            #[cfg(feature = "sqlite")]
            DatabaseUrl::Sqlite(url) => connect_sqlite(config, url, kept).await?,
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            other => anyhow::bail!("this binary was built without support for {}", other.describe()),
        };
        Ok(Self {
            pools,
            stats: Arc::new(Stats::new(metrics)),
            #[cfg(feature = "postgres")]
            session,
        })
    }

    /// Returns the same database for code that uses a table as a queue. On Postgres it has a small pool of its own, for two
    /// reasons: requests that exhaust the main pool cannot block lease renewals; and its queries always use an index, because
    /// the planner's statistics are never current for a table that fills and empties within minutes.
    pub fn for_queue(&self) -> Self {
        match &self.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => {
                let session = self.session.with([("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("enable_sort", "off")]);
                let kept = pool.kept();
                let pools = Pools::Postgres(Pool::new(session.apply(pool.options().clone()), QUEUE_CONNECTIONS, kept));
                Self { pools, stats: self.stats.clone(), session: Arc::new(session) }
            }
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { .. } => self.clone(),
        }
    }

    /// Returns the statement for this engine, if one text cannot serve both. State the reason where it is called.
    pub fn pick(&self, postgres: &'static Sql, sqlite: &'static Sql) -> &'static Sql {
        if self.is_postgres() { postgres } else { sqlite }
    }

    pub fn is_postgres(&self) -> bool {
        match &self.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(_) => true,
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { .. } => false,
        }
    }

    /// Opens a connection of its own for migrations: without the time limit of statements, and past a pooler where
    /// `DATABASE_DIRECT_URL` is set.
    #[cfg(feature = "postgres")]
    pub async fn migration_connection(&self, url: &str) -> anyhow::Result<MigrationConnection> {
        use sqlx::ConnectOptions;

        let (options, pooled) = self.session.for_migrations(url)?;
        let connection = tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await??;
        Ok(MigrationConnection { connection, pooled })
    }

    /// Opens new connections instead of using those that are open, but not too often.
    pub(super) fn distrust(&self) {
        match &self.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => pool.distrust(),
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { read, write } => {
                read.distrust();
                write.distrust();
            }
        }
    }

    /// The numbers of idle and of active connections.
    pub fn connections(&self) -> (u32, u32) {
        match &self.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => pool.connections(),
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { read, write } => {
                let (read, write) = (read.connections(), write.connections());
                (read.0 + write.0, read.1 + write.1)
            }
        }
    }

    /// Waits for running statements for a limited time and closes every connection.
    pub async fn close(&self) {
        match &self.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => pool.close().await,
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { read, write } => {
                read.close().await;
                // Closed last, so that it checkpoints and removes the WAL.
                write.close().await;
            }
        }
    }
}

/// A connection for migrations.
#[cfg(feature = "postgres")]
pub struct MigrationConnection {
    pub connection: sqlx::PgConnection,
    /// Behind a pooler, where nothing outlives a transaction.
    pub pooled: bool,
}

#[cfg(feature = "sqlite")]
async fn connect_sqlite(config: &Config, url: &SqliteUrl, kept: Kept) -> anyhow::Result<Pools> {
    use anyhow::Context;

    let base = SqliteConnectOptions::new().foreign_keys(true).busy_timeout(ACQUIRE_TIMEOUT);
    let SqliteUrl::File(path) = url else {
        let pool = Pool::new(base.in_memory(true), 1, Kept::Forever);
        return Ok(Pools::Sqlite { read: pool.clone(), write: pool });
    };
    // It holds personal data. SQLite gives its other files the same mode.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_files::create_folder(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    match private_files::create_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot create {}", path.display()));
        }
        _ => {}
    }
    // NORMAL loses nothing in a crash of the process; a power cut may lose the last commits, never the database.
    let options = base.filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
    // The writer checkpoints the WAL itself, and every other writer waits for it. Half the default size makes it run twice
    // as often and half as long, which evens out latencies.
    let options = options.pragma("wal_autocheckpoint", "500");
    // KiB of pages for each connection, a quarter of the default: the operating system caches the file once for all of them.
    let options = options.pragma("cache_size", "-500");
    // Each reader is a thread of its own; more threads than cores only slow each other down.
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let readers = config.pool_size.min((2 * cores).max(4));
    let write = Pool::new(options.clone(), 1, kept);
    drop(write.acquire().await.with_context(|| format!("cannot open {}", path.display()))?);
    let read = Pool::new(options.pragma("query_only", "ON"), readers, kept);
    Ok(Pools::Sqlite { read, write })
}
