//! Connection pools of the database: opening, closing and connection counts.

use std::sync::Arc;
use std::time::Duration;

use super::config::{Config, DatabaseUrl};
use super::sql::Sql;
use super::stats::Stats;
use crate::platform::telemetry::metrics::Metrics;

#[cfg(feature = "sqlite")]
use super::config::SqliteUrl;
#[cfg(feature = "postgres")]
use sqlx::Connection;
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

/// Maximum time that a request waits for a connection; then it fails with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// For claims, completions and leases at the same time, plus one spare.
#[cfg(feature = "postgres")]
const QUEUE_CONNECTIONS: u32 = 4;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pub pools: Pools,
    pub(super) stats: Arc<Stats>,
}

/// The pools of the database's engine.
///
/// SQLite takes one writer at a time, so `write` holds one connection: writers queue in the pool instead of running into
/// `SQLITE_BUSY`. `read` cannot write (`query_only`) and, thanks to WAL, never waits for it.
#[derive(Clone)]
pub enum Pools {
    #[cfg(feature = "postgres")]
    Postgres(PgPool),
    #[cfg(feature = "sqlite")]
    Sqlite { read: SqlitePool, write: SqlitePool },
}

impl Db {
    /// Opens the pools. Postgres is not contacted yet; a SQLite file is created if needed.
    pub async fn connect(config: &Config, url: &DatabaseUrl, metrics: &Metrics) -> anyhow::Result<Self> {
        let pools = match url {
            #[cfg(feature = "postgres")]
            DatabaseUrl::Postgres(url) => connect_postgres(config, url)?,
            #[cfg(feature = "sqlite")]
            DatabaseUrl::Sqlite(url) => connect_sqlite(config, url).await?,
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            other => anyhow::bail!("this binary was built without support for {}", other.describe()),
        };
        Ok(Self { pools, stats: Arc::new(Stats::new(metrics)) })
    }

    /// Returns the same database for code that uses a table as a queue. On Postgres it has a small pool of its own, for two
    /// reasons: requests that exhaust the main pool cannot block lease renewals; and its queries always use an index, because
    /// the planner's statistics are never current for a table that fills and empties within minutes.
    pub fn for_queue(&self) -> Self {
        match &self.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => {
                let options = (*pool.connect_options()).clone();
                let options = options.options(["enable_seqscan", "enable_bitmapscan", "enable_sort"].map(|setting| (setting, "off")));
                let pools = Pools::Postgres(postgres_pool(QUEUE_CONNECTIONS).connect_lazy_with(options));
                Self { pools, stats: self.stats.clone() }
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

    /// The numbers of idle and of active connections.
    pub fn connections(&self) -> (u32, u32) {
        let count = |size: u32, idle: usize| {
            let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(size);
            (idle, size - idle)
        };
        match &self.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => count(pool.size(), pool.num_idle()),
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { read, write } => count(read.size() + write.size(), read.num_idle() + write.num_idle()),
        }
    }

    /// Waits for running statements and closes every connection.
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

#[cfg(feature = "postgres")]
fn connect_postgres(config: &Config, url: &str) -> anyhow::Result<Pools> {
    use std::str::FromStr;

    let options = PgConnectOptions::from_str(url)?
        .application_name("omnistack")
        .options([("statement_timeout", config.statement_timeout.as_millis().to_string())]);
    let pool = postgres_pool(config.pool_size)
        // Kept open, because a new connection costs a request several round trips.
        .min_connections(if config.null_pool { 0 } else { config.pool_size.min(2) })
        .max_lifetime(if config.null_pool { Duration::ZERO } else { config.recycle });
    Ok(Pools::Postgres(pool.connect_lazy_with(options)))
}

#[cfg(feature = "postgres")]
fn postgres_pool(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // The default pings the server before every use: a round trip per query. Only a connection that has been idle for a
        // while may have been cut off meanwhile.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > Duration::from_secs(1) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

#[cfg(feature = "sqlite")]
async fn connect_sqlite(config: &Config, url: &SqliteUrl) -> anyhow::Result<Pools> {
    use anyhow::Context;

    let base = SqliteConnectOptions::new().foreign_keys(true).busy_timeout(ACQUIRE_TIMEOUT);
    let SqliteUrl::File(path) = url else {
        // The in-memory database lives in this connection, so it is never closed.
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = pool.test_before_acquire(false).connect_with(base.in_memory(true)).await?;
        return Ok(Pools::Sqlite { read: pool.clone(), write: pool });
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        tokio::fs::create_dir_all(folder).await.with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    // NORMAL loses nothing in a crash of the process; a power cut may lose the last commits, never the database.
    let options = base.filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
    // The writer checkpoints the WAL itself, and every other writer waits for it. Half the default size makes it run twice
    // as often and half as long, which evens out latencies.
    let options = options.pragma("wal_autocheckpoint", "500");
    // KiB of pages for each connection, a quarter of the default: the operating system caches the file once for all of them.
    let options = options.pragma("cache_size", "-500");
    let pool = |size| {
        let lifetime = if config.null_pool { Duration::ZERO } else { config.recycle };
        SqlitePoolOptions::new().max_connections(size).max_lifetime(lifetime).acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false)
    };
    // Each reader is a thread of its own; more threads than cores only slow each other down.
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let readers = config.pool_size.min((2 * cores).max(4));
    let write = pool(1).connect_with(options.clone()).await.with_context(|| format!("cannot open {}", path.display()))?;
    let read = pool(readers).connect_with(options.pragma("query_only", "ON")).await?;
    Ok(Pools::Sqlite { read, write })
}
