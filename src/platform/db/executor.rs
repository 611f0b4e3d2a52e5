//! Executor of a query: the database, or an open transaction.

#[cfg(feature = "postgres")]
use sqlx::postgres::Postgres;
#[cfg(feature = "sqlite")]
use sqlx::sqlite::Sqlite;

use super::connections::Held;
use super::pool::Db;

/// An action that runs once a change is durable.
pub(super) type Hook = Box<dyn FnOnce() + Send>;

/// Executor of a query. Store functions take `impl Into<Executor<'_>>`: `&app.db` or `&mut tx`.
pub struct Executor<'c> {
    pub(super) target: Target<'c>,
    pub(super) hooks: Option<&'c mut Vec<Hook>>,
}

pub(super) enum Target<'c> {
    Db(&'c Db),
    #[cfg(feature = "postgres")]
    Postgres(&'c mut Held<Postgres>, &'c Db),
    #[cfg(feature = "sqlite")]
    Sqlite(&'c mut Held<Sqlite>, &'c Db),
}

/// Runs an action once a change is durable: after the commit of its transaction, or at once where there is none.
pub struct AfterCommit<'c>(Option<&'c mut Vec<Hook>>);

impl AfterCommit<'_> {
    pub fn run(self, hook: impl FnOnce() + Send + 'static) {
        match self.0 {
            Some(hooks) => hooks.push(Box::new(hook)),
            None => hook(),
        }
    }
}

impl<'c> Executor<'c> {
    /// Returns the runner for an action that must follow a store's change. Run the action after the query has succeeded.
    pub fn after_commit(&mut self) -> AfterCommit<'c> {
        AfterCommit(self.hooks.take())
    }

    pub fn is_postgres(&self) -> bool {
        match &self.target {
            Target::Db(db) => db.is_postgres(),
            #[cfg(feature = "postgres")]
            Target::Postgres(..) => true,
            #[cfg(feature = "sqlite")]
            Target::Sqlite(..) => false,
        }
    }
}

impl<'c> From<&'c Db> for Executor<'c> {
    fn from(db: &'c Db) -> Self {
        Self { target: Target::Db(db), hooks: None }
    }
}
