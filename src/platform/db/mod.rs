//! A thin layer over sqlx: the same SQL text and the same binds on Postgres and on SQLite.
//!
//! [`q`] runs one text on the database or on an open transaction ([`On`]); [`sql!`](crate::sql) registers
//! each text, so that one test prepares them all on both engines. No traits per table, no query builder.

mod config;
mod query;
mod stats;
mod tx;

use std::time::Duration;

use crate::platform::clock::Clock;

pub use config::{Config, DatabaseUrl, SqliteUrl};
pub use query::{Bind, Only, Q, Registered, Row, Sql, q};
pub use tx::{AfterCommit, On, Tx, retry_contended};

#[cfg(feature = "postgres")]
use sqlx::Connection;
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

/// How long a request waits for a connection before it is answered 503.
const ACQUIRE: Duration = Duration::from_secs(5);

/// Claims, endings and leases at once, and one to spare.
#[cfg(feature = "postgres")]
const QUEUE_CONNECTIONS: u32 = 4;

/// The database, cheap to clone.
///
/// SQLite takes one writer at a time, so `write` holds one connection: writers queue in the pool instead
/// of running into `SQLITE_BUSY`. `read` cannot write (`query_only`) and, thanks to WAL, never waits for it.
#[derive(Clone)]
pub enum Db {
    #[cfg(feature = "postgres")]
    Pg(PgPool),
    #[cfg(feature = "sqlite")]
    Lite { read: SqlitePool, write: SqlitePool },
}

impl Db {
    /// Opens the pools. Postgres is not asked for anything yet; a SQLite file is created if need be.
    pub async fn connect(config: &Config, url: &DatabaseUrl) -> anyhow::Result<Self> {
        match url {
            #[cfg(feature = "postgres")]
            DatabaseUrl::Postgres(url) => connect_postgres(config, url),
            #[cfg(feature = "sqlite")]
            DatabaseUrl::Sqlite(url) => connect_sqlite(config, url).await,
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            other => anyhow::bail!("this binary was built without support for {}", other.describe()),
        }
    }

    /// The same database for what works through a table as a queue. On Postgres over a few connections of its own:
    /// requests that use up the others cannot keep it from its leases, and its queries go by an index whatever the
    /// statistics say, for those of a table that is filled and emptied within minutes are never right.
    pub fn for_queue(&self) -> Self {
        match self {
            #[cfg(feature = "postgres")]
            Self::Pg(pool) => {
                let options = (*pool.connect_options()).clone();
                let options = options.options(["enable_seqscan", "enable_bitmapscan", "enable_sort"].map(|setting| (setting, "off")));
                Self::Pg(postgres_pool(QUEUE_CONNECTIONS).connect_lazy_with(options))
            }
            #[cfg(feature = "sqlite")]
            Self::Lite { .. } => self.clone(),
        }
    }

    /// The text for this engine, where one text cannot serve both; say why beside it.
    pub fn pick(&self, postgres: &'static Sql, sqlite: &'static Sql) -> &'static Sql {
        if self.is_postgres() { postgres } else { sqlite }
    }

    pub fn is_postgres(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Pg(_) => true,
            #[cfg(feature = "sqlite")]
            Self::Lite { .. } => false,
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> sqlx::Result<()> {
        let alive: Vec<(i64,)> = q(self, crate::sql!("SELECT CAST(1 AS BIGINT)")).all().await?;
        if alive.is_empty() { Err(sqlx::Error::RowNotFound) } else { Ok(()) }
    }

    /// By how many milliseconds our clock is ahead of the database's.
    pub async fn clock_skew(&self, clock: &Clock) -> sqlx::Result<i64> {
        // SQLite has no clock of its own: it asks the same system as we do.
        let text = self.pick(
            crate::sql!(pg: "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"),
            crate::sql!(lite: "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"),
        );
        let (theirs,): (i64,) = q(self, text).one().await?;
        Ok(clock.now().timestamp_millis() - theirs)
    }

    /// Connections now: idle, active, and those above the configured size (none: the size is a limit).
    pub fn connections(&self) -> (u32, u32) {
        let count = |size: u32, idle: usize| {
            let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(size);
            (idle, size - idle)
        };
        match self {
            #[cfg(feature = "postgres")]
            Self::Pg(pool) => count(pool.size(), pool.num_idle()),
            #[cfg(feature = "sqlite")]
            Self::Lite { read, write } => count(read.size() + write.size(), read.num_idle() + write.num_idle()),
        }
    }

    /// Waits for running statements and closes every connection.
    pub async fn close(&self) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Pg(pool) => pool.close().await,
            #[cfg(feature = "sqlite")]
            Self::Lite { read, write } => {
                read.close().await;
                // Last, so that it checkpoints and removes the WAL.
                write.close().await;
            }
        }
    }
}

#[cfg(feature = "postgres")]
fn connect_postgres(config: &Config, url: &str) -> anyhow::Result<Db> {
    use std::str::FromStr;

    let options = PgConnectOptions::from_str(url)?
        .application_name("omnistack")
        .options([("statement_timeout", config.statement_timeout.as_millis().to_string())]);
    let pool = postgres_pool(config.pool_size)
        // A few warm ones: opening a connection costs several round trips on somebody's request.
        .min_connections(if config.null_pool { 0 } else { config.pool_size.min(2) })
        .max_lifetime(if config.null_pool { Duration::ZERO } else { config.recycle });
    Ok(Db::Pg(pool.connect_lazy_with(options)))
}

#[cfg(feature = "postgres")]
fn postgres_pool(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE)
        // The default asks the server before every use: a round trip per query. Only one that has been
        // idle for a while may have been cut off meanwhile.
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
async fn connect_sqlite(config: &Config, url: &SqliteUrl) -> anyhow::Result<Db> {
    use anyhow::Context;

    let base = SqliteConnectOptions::new().foreign_keys(true).busy_timeout(ACQUIRE);
    let SqliteUrl::File(path) = url else {
        // One connection *is* the database, so it is never let go.
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).acquire_timeout(ACQUIRE);
        let pool = pool.test_before_acquire(false).connect_with(base.in_memory(true)).await?;
        return Ok(Db::Lite { read: pool.clone(), write: pool });
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        tokio::fs::create_dir_all(folder).await.with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    // NORMAL loses nothing to a crash of the process; a power cut may take the last commits, never the database.
    let options = base.filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
    // The writer copies the WAL back by itself, and everybody who writes waits for it: half as long and twice as
    // often as by default, which evens the answers out.
    let options = options.pragma("wal_autocheckpoint", "500");
    let pool = |size| {
        let lifetime = if config.null_pool { Duration::ZERO } else { config.recycle };
        SqlitePoolOptions::new().max_connections(size).max_lifetime(lifetime).acquire_timeout(ACQUIRE).test_before_acquire(false)
    };
    // Each reader is a thread of its own; more than the cores can run only get in each other's way.
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let readers = config.pool_size.min((2 * cores).max(4));
    let write = pool(1).connect_with(options.clone()).await.with_context(|| format!("cannot open {}", path.display()))?;
    let read = pool(readers).connect_with(options.pragma("query_only", "ON")).await?;
    Ok(Db::Lite { read, write })
}

/// Whether trying again later may help: no connection, a broken or closed one, a server that is starting,
/// stopping or full, a statement over its time, a busy SQLite file, or a lost race ([`is_contended`]).
pub fn is_temporary(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(db) => {
            db.code().is_some_and(|code| {
                code.starts_with("08") && code.len() == 5
                || code.starts_with("57P0")
                || matches!(code.as_ref(), "53300" | "57014")
                // SQLite's extended codes hold the primary one in the low byte: 5 is SQLITE_BUSY.
                || code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 5)
            }) || is_contended(error)
        }
        _ => false,
    }
}

/// Whether the transaction lost against another one (serialization failure, deadlock) and may simply be
/// run once more.
pub fn is_contended(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(db) if matches!(db.code().as_deref(), Some("40001" | "40P01")))
}
