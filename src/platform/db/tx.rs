//! Transactions: all of their changes become durable together, or none does.

#[cfg(feature = "postgres")]
use sqlx::postgres::Postgres;
#[cfg(feature = "sqlite")]
use sqlx::sqlite::Sqlite;
use sqlx::{SqlSafeStr, SqlStr};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::connections::{Held, PING};
use super::executor::{Executor, Hook, Target};
use super::pool::{Db, Pools};
#[cfg(feature = "postgres")]
use super::query::within;

/// An open transaction. Dropped without [`Tx::commit`] it is rolled back, and its hooks never run.
pub struct Tx {
    /// `None` once it is committed or given to its rollback.
    connection: Option<Connection>,
    db: Db,
    hooks: Vec<Hook>,
}

enum Connection {
    #[cfg(feature = "postgres")]
    Postgres(Held<Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(Held<Sqlite>),
}

impl Connection {
    /// Runs a statement that has no arguments.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "only a server can be silent"))]
    async fn run(&mut self, db: &Db, text: SqlStr) -> sqlx::Result<()> {
        match self {
            // As a simple query, which is one round trip also the first time.
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => {
                let result = within(db.session.limit, sqlx::raw_sql(text).execute(held.enter())).await;
                held.leave(result.as_ref().err());
                result.map(|_| ())
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => {
                let result = sqlx::query(text).execute(held.enter()).await;
                held.leave(result.as_ref().err());
                result.map(|_| ())
            }
        }
    }

    fn is_usable(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => held.is_usable(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => held.is_usable(),
        }
    }

    fn give_up(&mut self) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(held) => held.give_up(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => held.give_up(),
        }
    }
}

impl Db {
    /// Opens a write transaction. Only for work that cannot be retried; all other code uses
    /// [`transaction!`](crate::transaction).
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let (connection, begin) = match &self.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => (Connection::Postgres(pool.acquire().await?), self.session.begin.clone()),
            // IMMEDIATE: a deferred transaction that first reads fails with SQLITE_BUSY when it turns to write.
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { write, .. } => (Connection::Sqlite(write.acquire().await?), "BEGIN IMMEDIATE".into_sql_str()),
        };
        let mut tx = Tx { connection: Some(connection), db: self.clone(), hooks: Vec::new() };
        tx.run(begin).await?;
        Ok(tx)
    }
}

impl Tx {
    async fn run(&mut self, text: SqlStr) -> sqlx::Result<()> {
        match &mut self.connection {
            Some(connection) => connection.run(&self.db, text).await,
            None => Ok(()),
        }
    }

    /// Makes the changes durable, then runs the hooks.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        self.run("COMMIT".into_sql_str()).await.inspect_err(|error| self.db.stats.refused(error))?;
        self.db.stats.wrote();
        self.connection = None;
        for hook in std::mem::take(&mut self.hooks) {
            hook();
        }
        Ok(())
    }

    /// Runs `hook` once the changes are durable: a cache invalidation, a publish, a wake-up.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        // Without a runtime nothing can be rolled back; a connection that was cut short is closed, which rolls back too.
        match Handle::try_current() {
            Ok(runtime) if connection.is_usable() => {
                let db = self.db.clone();
                runtime.spawn(async move {
                    if !matches!(timeout(PING, connection.run(&db, "ROLLBACK".into_sql_str())).await, Ok(Ok(()))) {
                        connection.give_up();
                    }
                });
            }
            _ => connection.give_up(),
        }
    }
}

impl<'c> From<&'c mut Tx> for Executor<'c> {
    fn from(tx: &'c mut Tx) -> Self {
        let target = match &mut tx.connection {
            #[cfg(feature = "postgres")]
            Some(Connection::Postgres(held)) => Target::Postgres(held, &tx.db),
            #[cfg(feature = "sqlite")]
            Some(Connection::Sqlite(held)) => Target::Sqlite(held, &tx.db),
            None => unreachable!("only `commit` and `drop` take the connection"),
        };
        Self { target, hooks: Some(&mut tx.hooks) }
    }
}

/// Runs a block in a transaction that may write: commits on `Ok`, rolls back on `Err`, and evaluates to the block's `Result`.
///
/// A transaction that loses to another one is retried once, so the block must have no effects outside of the transaction; use
/// [`Tx::after_commit`] for those. `return` and `?` leave the block only.
///
/// As `tests/it/database/transactions.rs` runs it:
///
/// ```ignore
/// let user = transaction!(app.db, |tx| {
///     let user = store::lock(tx, id).await?.ok_or_else(|| id.not_found())?;
///     store::update(tx, id, &change).await?;
///     Ok(user)
/// })?;
/// ```
// A macro, because the future of an async closure that borrows its surroundings is not provably `Send` (rust-lang/rust#110338).
#[macro_export]
macro_rules! transaction {
    ($db:expr, |$tx:ident| $work:block) => {{
        let db: &$crate::platform::db::Db = &$db;
        let mut last = false;
        loop {
            let outcome: $crate::platform::error::Result<_> = async {
                let mut open = db.begin().await?;
                let $tx = &mut open;
                let worked: $crate::platform::error::Result<_> = async { $work }.await;
                let value = worked?;
                open.commit().await?;
                Ok(value)
            }
            .await;
            match outcome {
                Err($crate::platform::error::Error::Contended) if !last => last = true,
                outcome => break outcome,
            }
        }
    }};
}
