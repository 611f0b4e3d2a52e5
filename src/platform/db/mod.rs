//! A thin layer over sqlx: the same SQL text and the same arguments on Postgres and on SQLite.
//!
//! [`query`] runs one text on the database or on an open transaction ([`Executor`]); [`sql!`](crate::sql) registers each
//! text, so that one test prepares them all on both engines. No traits per table, no query builder.

mod config;
mod connections;
mod executor;
mod failure;
mod pool;
mod postgres_url;
mod probe;
mod query;
#[cfg(feature = "postgres")]
mod session;
mod sql;
mod stats;
mod tx;

pub use config::{Config, DatabaseUrl, SqliteUrl};
pub use connections::{Held, Pool};
pub use executor::{AfterCommit, Executor};
pub use failure::{is_contended, is_temporary, pooler_remedy};
#[cfg(feature = "postgres")]
pub use pool::MigrationConnection;
pub use pool::{Db, Pools};
pub use postgres_url::PostgresUrl;
pub use probe::Health;
pub use query::{Bind, Query, Row, query};
pub use sql::{Engine, Registered, Sql, join, joined_length};
pub use tx::Tx;
