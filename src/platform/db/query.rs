//! One query: its registered text, arguments, executor and decoded rows.

#[cfg(feature = "postgres")]
use std::time::Duration;
use std::time::Instant;

use sqlx::Arguments as _;
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgArguments, PgRow, Postgres};
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
#[cfg(feature = "postgres")]
use tokio::time::timeout;

use super::executor::{Executor, Target};
#[cfg(feature = "postgres")]
use super::failure::is_contended;
use super::pool::Pools;
use super::sql::Sql;

#[cfg(feature = "postgres")]
pub trait PgBind<'q>: sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres> {}
#[cfg(feature = "postgres")]
impl<'q, T: sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres>> PgBind<'q> for T {}
#[cfg(not(feature = "postgres"))]
pub trait PgBind<'q> {}
#[cfg(not(feature = "postgres"))]
impl<T> PgBind<'_> for T {}

#[cfg(feature = "sqlite")]
pub trait SqliteBind<'q>: sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite> {}
#[cfg(feature = "sqlite")]
impl<'q, T: sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite>> SqliteBind<'q> for T {}
#[cfg(not(feature = "sqlite"))]
pub trait SqliteBind<'q> {}
#[cfg(not(feature = "sqlite"))]
impl<T> SqliteBind<'_> for T {}

/// A value that every engine of this build takes. References are fine: arguments are encoded when they are bound.
pub trait Bind<'q>: PgBind<'q> + SqliteBind<'q> + Send {}
impl<'q, T: PgBind<'q> + SqliteBind<'q> + Send> Bind<'q> for T {}

#[cfg(feature = "postgres")]
pub trait PgFromRow: for<'r> sqlx::FromRow<'r, PgRow> {}
#[cfg(feature = "postgres")]
impl<T: for<'r> sqlx::FromRow<'r, PgRow>> PgFromRow for T {}
#[cfg(not(feature = "postgres"))]
pub trait PgFromRow {}
#[cfg(not(feature = "postgres"))]
impl<T> PgFromRow for T {}

#[cfg(feature = "sqlite")]
pub trait SqliteFromRow: for<'r> sqlx::FromRow<'r, SqliteRow> {}
#[cfg(feature = "sqlite")]
impl<T: for<'r> sqlx::FromRow<'r, SqliteRow>> SqliteFromRow for T {}
#[cfg(not(feature = "sqlite"))]
pub trait SqliteFromRow {}
#[cfg(not(feature = "sqlite"))]
impl<T> SqliteFromRow for T {}

/// A row type that every engine of this build can fill: a tuple, or a struct with `derive(sqlx::FromRow)`.
pub trait Row: PgFromRow + SqliteFromRow + Send + Unpin {}
impl<T: PgFromRow + SqliteFromRow + Send + Unpin> Row for T {}

#[derive(Clone)]
enum Args {
    #[cfg(feature = "postgres")]
    Postgres(PgArguments),
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteArguments),
}

/// A query being put together; [`Query::fetch_all`], [`Query::fetch_optional`], [`Query::fetch_one`] and
/// [`Query::execute`] run it.
pub struct Query<'c> {
    target: Target<'c>,
    sql: &'static Sql,
    args: Args,
    error: Option<sqlx::Error>,
}

/// Starts a query on the database or on an open transaction.
pub fn query<'c>(on: impl Into<Executor<'c>>, sql: &'static Sql) -> Query<'c> {
    let target = on.into().target;
    let args = match &target {
        #[cfg(feature = "postgres")]
        Target::Postgres(..) => Args::Postgres(PgArguments::default()),
        #[cfg(feature = "sqlite")]
        Target::Sqlite(..) => Args::Sqlite(SqliteArguments::default()),
        Target::Db(db) => match &db.pools {
            #[cfg(feature = "postgres")]
            Pools::Postgres(_) => Args::Postgres(PgArguments::default()),
            #[cfg(feature = "sqlite")]
            Pools::Sqlite { .. } => Args::Sqlite(SqliteArguments::default()),
        },
    };
    Query { target, sql, args, error: None }
}

/// Runs a statement under a time limit, which only a connection reaches whose server is silent: the server has a shorter one.
#[cfg(feature = "postgres")]
pub(super) async fn within<T>(limit: Duration, statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(limit, statement).await.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Runs the statement on a connection and judges the connection by the outcome.
macro_rules! on_connection {
    (pg: $held:expr, $db:expr, $query:path, $sql:expr, $args:expr, $method:ident) => {{
        let held = $held;
        let statement = $query($sql.text, $args).persistent(!$db.session.pooled);
        let result = within($db.session.limit, statement.$method(held.enter())).await;
        held.leave(result.as_ref().err());
        result
    }};
    (lite: $held:expr, $query:path, $sql:expr, $args:expr, $method:ident) => {{
        let held = $held;
        let result = $query($sql.text, $args).$method(held.enter()).await;
        held.leave(result.as_ref().err());
        result
    }};
}

/// Sends the query to its engine. A statement that starts with SELECT goes to SQLite's readers, all others to its writer. A
/// single statement that loses to another transaction is retried once.
macro_rules! run {
    ($q:ident, $query:path, $method:ident, $map:expr) => {{
        if let Some(error) = $q.error {
            return Err(error);
        }
        let sql = $q.sql;
        let started = Instant::now();
        let (db, alone, result) = match ($q.target, $q.args) {
            #[cfg(feature = "postgres")]
            (Target::Db(db), Args::Postgres(args)) => {
                let mut last = false;
                let result = loop {
                    let attempt = async {
                        let pool = match &db.pools {
                            Pools::Postgres(pool) => pool,
                            #[cfg(feature = "sqlite")]
                            Pools::Sqlite { .. } => unreachable!("`query` pairs them"),
                        };
                        if db.session.pooled {
                            // Boxed, so that queries without a pooler do not carry its size.
                            return Box::pin(async {
                                let mut tx = db.begin().await?;
                                let Target::Postgres(held, _) = Executor::from(&mut tx).target else { unreachable!("as its database") };
                                let found = on_connection!(pg: held, db, $query, sql, args.clone(), $method)?;
                                tx.commit().await?;
                                Ok(found)
                            })
                            .await;
                        }
                        on_connection!(pg: &mut pool.acquire().await?, db, $query, sql, args.clone(), $method)
                    };
                    match attempt.await {
                        Err(error) if is_contended(&error) && !last => last = true,
                        outcome => break outcome,
                    }
                };
                (db, true, result.map($map))
            }
            #[cfg(feature = "sqlite")]
            (Target::Db(db), Args::Sqlite(args)) => {
                let attempt = async {
                    let pool = match &db.pools {
                        Pools::Sqlite { read, write } => if sql.reads() { read } else { write },
                        #[cfg(feature = "postgres")]
                        Pools::Postgres(_) => unreachable!("`query` pairs them"),
                    };
                    on_connection!(lite: &mut pool.acquire().await?, $query, sql, args, $method)
                };
                (db, true, attempt.await.map($map))
            }
            #[cfg(feature = "postgres")]
            (Target::Postgres(held, db), Args::Postgres(args)) => {
                (db, false, on_connection!(pg: held, db, $query, sql, args, $method).map($map))
            }
            #[cfg(feature = "sqlite")]
            (Target::Sqlite(held, db), Args::Sqlite(args)) => {
                (db, false, on_connection!(lite: held, $query, sql, args, $method).map($map))
            }
            #[cfg(all(feature = "postgres", feature = "sqlite"))]
            _ => unreachable!("`query` pairs them"),
        };
        if alone && !sql.reads() && result.is_ok() {
            db.stats.wrote();
        }
        db.stats.observe(sql, started.elapsed(), result.as_ref().err());
        result
    }};
}

impl Query<'_> {
    /// Binds the next argument: the first call fills `$1`.
    pub fn bind<'q>(mut self, value: impl Bind<'q>) -> Self {
        let added = match &mut self.args {
            #[cfg(feature = "postgres")]
            Args::Postgres(args) => args.add(value),
            #[cfg(feature = "sqlite")]
            Args::Sqlite(args) => args.add(value),
        };
        if let Err(error) = added {
            self.error = Some(sqlx::Error::Encode(error));
        }
        self
    }

    /// Returns every row. The only way to read, also for one row: sqlx' `fetch_one` and `fetch_optional` on SQLite stop after
    /// the first row and miss an error at the statement's end, so an `INSERT … RETURNING` whose commit fails would look
    /// successful.
    pub async fn fetch_all<T: Row>(self) -> sqlx::Result<Vec<T>> {
        run!(self, sqlx::query_as_with, fetch_all, std::convert::identity)
    }

    /// Returns the first row, if there is one.
    pub async fn fetch_optional<T: Row>(self) -> sqlx::Result<Option<T>> {
        Ok(self.fetch_all().await?.into_iter().next())
    }

    /// Returns the first row; no row is an error.
    pub async fn fetch_one<T: Row>(self) -> sqlx::Result<T> {
        self.fetch_optional().await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Returns the number of changed rows.
    pub async fn execute(self) -> sqlx::Result<u64> {
        run!(self, sqlx::query_with, execute, |done| done.rows_affected())
    }
}
