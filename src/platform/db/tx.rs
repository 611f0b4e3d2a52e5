//! Transactions: all of their changes become durable together, or none does.

use super::executor::{Executor, Hook, Target};
use super::pool::{Db, Pools};

/// An open transaction. Dropped without [`Tx::commit`] it is rolled back, and its hooks never run.
pub struct Tx {
    connection: Connection,
    db: Db,
    hooks: Vec<Hook>,
}

enum Connection {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
}

impl Db {
    /// Opens a write transaction. Only for work that cannot be retried; all other code uses
    /// [`transaction!`](crate::transaction).
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let connection = match &self.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(pool) => Connection::Postgres(pool.begin().await?),
            // IMMEDIATE: a deferred transaction that first reads fails with SQLITE_BUSY when it turns to write.
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { write, .. } => Connection::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
        };
        Ok(Tx { connection, db: self.clone(), hooks: Vec::new() })
    }
}

impl Tx {
    /// Makes the changes durable, then runs the hooks.
    pub async fn commit(self) -> sqlx::Result<()> {
        match self.connection {
            #[cfg(feature = "postgres")]
            Connection::Postgres(transaction) => transaction.commit().await?,
            #[cfg(feature = "sqlite")]
            Connection::Sqlite(transaction) => transaction.commit().await?,
        }
        self.hooks.into_iter().for_each(|hook| hook());
        Ok(())
    }

    /// Runs `hook` once the changes are durable: a cache invalidation, a publish, a wake-up.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }
}

impl<'c> From<&'c mut Tx> for Executor<'c> {
    fn from(tx: &'c mut Tx) -> Self {
        let target = match &mut tx.connection {
            #[cfg(feature = "postgres")]
            Connection::Postgres(transaction) => Target::Postgres(transaction, &tx.db),
            #[cfg(feature = "sqlite")]
            Connection::Sqlite(transaction) => Target::Sqlite(transaction, &tx.db),
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
