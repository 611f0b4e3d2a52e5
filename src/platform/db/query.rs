//! One query: a registered text, its binds, where it runs, and how its rows come back.

use std::sync::OnceLock;
use std::time::Instant;

use sqlx::Arguments as _;
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgArguments, PgRow, Postgres};
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};

#[cfg(feature = "postgres")]
use super::is_contended;
use super::stats::Stats;
use super::tx::To;
use super::{Db, On};

/// Which engines a text is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    Both,
    Pg,
    Lite,
}

/// A registered SQL text; made by [`sql!`](crate::sql) only.
pub struct Sql {
    pub text: &'static str,
    pub only: Only,
    /// Where it stands in the source, for the test that prepares every text.
    pub place: (&'static str, u32),
    pub(super) stats: OnceLock<Stats>,
}

impl Sql {
    pub const fn new(only: Only, text: &'static str, file: &'static str, line: u32) -> Self {
        Self { text, only, place: (file, line), stats: OnceLock::new() }
    }

    pub(super) fn reads(&self) -> bool {
        self.text.starts_with("SELECT")
    }
}

/// The register of all texts.
pub struct Registered(pub &'static Sql);

inventory::collect!(Registered);

/// Registers a text and gives a reference to it: `sql!("…")` for both engines, `sql!(pg: "…")` and
/// `sql!(lite: "…")` for one.
#[macro_export]
macro_rules! sql {
    ($text:literal) => { $crate::sql!(@ Both, $text) };
    (pg: $text:literal) => { $crate::sql!(@ Pg, $text) };
    (lite: $text:literal) => { $crate::sql!(@ Lite, $text) };
    (@ $only:ident, $text:literal) => {{
        static SQL: $crate::platform::db::Sql = $crate::platform::db::Sql::new($crate::platform::db::Only::$only, $text, file!(), line!());
        ::inventory::submit! { $crate::platform::db::Registered(&SQL) }
        &SQL
    }};
}

#[cfg(feature = "postgres")]
pub trait PgBind: for<'q> sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres> {}
#[cfg(feature = "postgres")]
impl<T: for<'q> sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres>> PgBind for T {}
#[cfg(not(feature = "postgres"))]
pub trait PgBind {}
#[cfg(not(feature = "postgres"))]
impl<T> PgBind for T {}

#[cfg(feature = "sqlite")]
pub trait LiteBind: for<'q> sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite> {}
#[cfg(feature = "sqlite")]
impl<T: for<'q> sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite>> LiteBind for T {}
#[cfg(not(feature = "sqlite"))]
pub trait LiteBind {}
#[cfg(not(feature = "sqlite"))]
impl<T> LiteBind for T {}

/// A value that every engine of this build takes.
pub trait Bind: PgBind + LiteBind + Send {}
impl<T: PgBind + LiteBind + Send> Bind for T {}

#[cfg(feature = "postgres")]
pub trait PgFromRow: for<'r> sqlx::FromRow<'r, PgRow> {}
#[cfg(feature = "postgres")]
impl<T: for<'r> sqlx::FromRow<'r, PgRow>> PgFromRow for T {}
#[cfg(not(feature = "postgres"))]
pub trait PgFromRow {}
#[cfg(not(feature = "postgres"))]
impl<T> PgFromRow for T {}

#[cfg(feature = "sqlite")]
pub trait LiteFromRow: for<'r> sqlx::FromRow<'r, SqliteRow> {}
#[cfg(feature = "sqlite")]
impl<T: for<'r> sqlx::FromRow<'r, SqliteRow>> LiteFromRow for T {}
#[cfg(not(feature = "sqlite"))]
pub trait LiteFromRow {}
#[cfg(not(feature = "sqlite"))]
impl<T> LiteFromRow for T {}

/// A row type that every engine of this build can fill: a tuple, or a struct with `derive(sqlx::FromRow)`.
pub trait Row: PgFromRow + LiteFromRow + Send + Unpin {}
impl<T: PgFromRow + LiteFromRow + Send + Unpin> Row for T {}

#[derive(Clone)]
enum Args {
    #[cfg(feature = "postgres")]
    Pg(PgArguments),
    #[cfg(feature = "sqlite")]
    Lite(SqliteArguments),
}

/// A query being put together; [`Q::all`], [`Q::opt`], [`Q::one`] and [`Q::exec`] run it.
pub struct Q<'c> {
    to: To<'c>,
    sql: &'static Sql,
    args: Args,
    error: Option<sqlx::Error>,
}

/// Starts a query on the database or on an open transaction.
pub fn q<'c>(on: impl Into<On<'c>>, sql: &'static Sql) -> Q<'c> {
    let to = on.into().to;
    let args = match &to {
        #[cfg(feature = "postgres")]
        To::Db(Db::Pg(_)) | To::Pg(_) => Args::Pg(PgArguments::default()),
        #[cfg(feature = "sqlite")]
        To::Db(Db::Lite { .. }) | To::Lite(_) => Args::Lite(SqliteArguments::default()),
    };
    Q { to, sql, args, error: None }
}

/// Sends the query where it belongs. A statement that starts with SELECT goes to SQLite's readers, all
/// others to its writer. A single statement that lost against another transaction is run once more.
macro_rules! run {
    ($q:ident, $query:path, $method:ident, $map:expr) => {{
        if let Some(error) = $q.error {
            return Err(error);
        }
        let sql = $q.sql;
        let started = Instant::now();
        let result = match ($q.to, $q.args) {
            #[cfg(feature = "postgres")]
            (To::Db(Db::Pg(pool)), Args::Pg(args)) if sql.reads() => $query(sql.text, args).$method(pool).await.map($map),
            #[cfg(feature = "postgres")]
            (To::Db(Db::Pg(pool)), Args::Pg(args)) => match $query(sql.text, args.clone()).$method(pool).await {
                Err(error) if is_contended(&error) => $query(sql.text, args).$method(pool).await.map($map),
                other => other.map($map),
            },
            #[cfg(feature = "postgres")]
            (To::Pg(connection), Args::Pg(args)) => $query(sql.text, args).$method(connection).await.map($map),
            #[cfg(feature = "sqlite")]
            (To::Db(Db::Lite { read, write }), Args::Lite(args)) => {
                $query(sql.text, args).$method(if sql.reads() { read } else { write }).await.map($map)
            }
            #[cfg(feature = "sqlite")]
            (To::Lite(connection), Args::Lite(args)) => $query(sql.text, args).$method(connection).await.map($map),
            #[cfg(all(feature = "postgres", feature = "sqlite"))]
            _ => unreachable!("`q` pairs them"),
        };
        Stats::of(sql).observe(sql, started.elapsed(), result.as_ref().err());
        result
    }};
}

impl Q<'_> {
    /// Binds the next argument: the first call fills `$1`.
    pub fn bind(mut self, value: impl Bind) -> Self {
        let added = match &mut self.args {
            #[cfg(feature = "postgres")]
            Args::Pg(args) => args.add(value),
            #[cfg(feature = "sqlite")]
            Args::Lite(args) => args.add(value),
        };
        if let Err(error) = added {
            self.error = Some(sqlx::Error::Encode(error));
        }
        self
    }

    /// Every row. The only way to read, also for one: sqlx' `fetch_one` and `fetch_optional` on SQLite stop
    /// after the first row and miss an error at the statement's end, so that an `INSERT … RETURNING` whose
    /// commit fails would look well.
    pub async fn all<T: Row>(self) -> sqlx::Result<Vec<T>> {
        run!(self, sqlx::query_as_with, fetch_all, std::convert::identity)
    }

    /// The first row, if there is one.
    pub async fn opt<T: Row>(self) -> sqlx::Result<Option<T>> {
        Ok(self.all().await?.into_iter().next())
    }

    /// The row that must be there.
    pub async fn one<T: Row>(self) -> sqlx::Result<T> {
        self.opt().await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// How many rows were changed.
    pub async fn exec(self) -> sqlx::Result<u64> {
        run!(self, sqlx::query_with, execute, |done| done.rows_affected())
    }
}
