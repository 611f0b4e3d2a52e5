//! Transactions, and what a query may run on: the database or an open transaction.

use super::Db;
use crate::platform::error::Error;

type Hook = Box<dyn FnOnce() + Send>;

/// An open transaction. Dropped without [`Tx::commit`] it is rolled back and its hooks never run.
pub struct Tx {
    pub(super) connection: Connection,
    hooks: Vec<Hook>,
}

pub(super) enum Connection {
    #[cfg(feature = "postgres")]
    Pg(sqlx::Transaction<'static, sqlx::Postgres>),
    #[cfg(feature = "sqlite")]
    Lite(sqlx::Transaction<'static, sqlx::Sqlite>),
}

impl Db {
    /// A transaction that may write.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let connection = match self {
            #[cfg(feature = "postgres")]
            Self::Pg(pool) => Connection::Pg(pool.begin().await?),
            // IMMEDIATE: a deferred transaction that first reads fails with SQLITE_BUSY when it turns to write.
            #[cfg(feature = "sqlite")]
            Self::Lite { write, .. } => Connection::Lite(write.begin_with("BEGIN IMMEDIATE").await?),
        };
        Ok(Tx { connection, hooks: Vec::new() })
    }
}

impl Tx {
    /// Makes the changes durable, then runs what waited for that.
    pub async fn commit(self) -> sqlx::Result<()> {
        match self.connection {
            #[cfg(feature = "postgres")]
            Connection::Pg(transaction) => transaction.commit().await?,
            #[cfg(feature = "sqlite")]
            Connection::Lite(transaction) => transaction.commit().await?,
        }
        self.hooks.into_iter().for_each(|hook| hook());
        Ok(())
    }

    /// Runs `hook` once the changes are durable: a cache drop, a publish, a wake-up.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }
}

/// What a query runs on. Functions of a store take `impl Into<On<'_>>`: `&app.db` or `&mut tx`.
pub struct On<'c> {
    pub(super) to: To<'c>,
    hooks: Option<&'c mut Vec<Hook>>,
}

/// What is to happen once a change is durable: after the commit of its transaction, else at once.
pub struct AfterCommit<'c>(Option<&'c mut Vec<Hook>>);

impl AfterCommit<'_> {
    pub fn run(self, hook: impl FnOnce() + Send + 'static) {
        match self.0 {
            Some(hooks) => hooks.push(Box::new(hook)),
            None => hook(),
        }
    }
}

impl<'c> On<'c> {
    /// For a store whose change must be followed by something; to be run after its query succeeded.
    pub fn after_commit(&mut self) -> AfterCommit<'c> {
        AfterCommit(self.hooks.take())
    }

    pub fn is_postgres(&self) -> bool {
        match &self.to {
            To::Db(db) => db.is_postgres(),
            #[cfg(feature = "postgres")]
            To::Pg(_) => true,
            #[cfg(feature = "sqlite")]
            To::Lite(_) => false,
        }
    }
}

pub(super) enum To<'c> {
    Db(&'c Db),
    #[cfg(feature = "postgres")]
    Pg(&'c mut sqlx::PgConnection),
    #[cfg(feature = "sqlite")]
    Lite(&'c mut sqlx::SqliteConnection),
}

impl<'c> From<&'c Db> for On<'c> {
    fn from(db: &'c Db) -> Self {
        Self { to: To::Db(db), hooks: None }
    }
}

impl<'c> From<&'c mut Tx> for On<'c> {
    fn from(tx: &'c mut Tx) -> Self {
        let to = match &mut tx.connection {
            #[cfg(feature = "postgres")]
            Connection::Pg(transaction) => To::Pg(transaction),
            #[cfg(feature = "sqlite")]
            Connection::Lite(transaction) => To::Lite(transaction),
        };
        Self { to, hooks: Some(&mut tx.hooks) }
    }
}

/// Runs a whole transaction, and once more if it lost against another one.
pub async fn retry_contended<T, F: Future<Output = Result<T, Error>>>(run: impl Fn() -> F) -> Result<T, Error> {
    match run().await {
        Err(Error::Contended) => run().await,
        other => other,
    }
}
