//! Database settings: URL, pool and limits.

use std::path::PathBuf;
use std::time::Duration;

use super::postgres_url::PostgresUrl;
use crate::platform::config::{Env, Section, Value};

/// The database settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// `None` only after a problem was reported: unset in production.
    pub url: Option<DatabaseUrl>,
    pub pool_size: u32,
    /// Maximum lifetime of a connection.
    pub recycle: Duration,
    /// Keeps no connection between requests, for serverless platforms.
    pub null_pool: bool,
    /// Postgres is reached through a pooler that gives each transaction another session.
    pub pgbouncer: bool,
    /// For migrations, past a pooler.
    pub direct_url: Option<DatabaseUrl>,
    pub run_migrations: bool,
    /// Postgres ends a statement that runs longer (SQLSTATE 57014, answered 503). Less than the time that a request waits for
    /// a connection, so that dead connections never use up the pool; long work is cut into batches.
    pub statement_timeout: Duration,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Database and Redis");
        let production = env.environment().is_production();
        let var = env.var(
            "DATABASE_URL",
            "`postgres://user:password@host/name`, `sqlite:///relative/path`, `sqlite:////absolute/path` or `sqlite::memory:`",
        );
        let url = var.shown_default("sqlite:///./dev.db").optional::<DatabaseUrl>();
        let unset = url.is_none() && !env.is_set("DATABASE_URL");
        if production && !matches!(url, Some(DatabaseUrl::Postgres(_)) | None) {
            env.problem("DATABASE_URL", "must be a Postgres database in production", "Set it to postgres://…");
        } else if production && unset {
            env.problem("DATABASE_URL", "is required in production", "Set it to postgres://…");
        }
        let url = if unset && !production { Some(DatabaseUrl::Sqlite(SqliteUrl::File("./dev.db".into()))) } else { url };
        if let Some(url) = &url {
            url.warn("DATABASE_URL", env);
        }
        match url {
            Some(DatabaseUrl::Postgres(_)) if !cfg!(feature = "postgres") => {
                env.problem(
                    "DATABASE_URL",
                    "names Postgres, which this binary was built without",
                    "Build it with the cargo feature `postgres`",
                );
            }
            Some(DatabaseUrl::Sqlite(_)) if !cfg!(feature = "sqlite") => {
                env.problem(
                    "DATABASE_URL",
                    "names SQLite, which this binary was built without",
                    "Build it with the cargo feature `sqlite`, or set a Postgres URL",
                );
            }
            _ => {}
        }
        let direct_url: Option<DatabaseUrl> =
            env.var("DATABASE_DIRECT_URL", "Database URL for migrations, past a pooler; default: DATABASE_URL").optional();
        if let Some(url) = &direct_url {
            url.warn("DATABASE_DIRECT_URL", env);
        }
        if matches!(direct_url, Some(DatabaseUrl::Sqlite(_))) {
            env.problem("DATABASE_DIRECT_URL", "must be a Postgres database", "Set it to postgres://…, or unset it");
        }
        Self {
            url,
            pool_size: env.var("DB_POOL_SIZE", "Maximum number of connections").checked(10, |n| (1..=1000).contains(n), "from 1 to 1000"),
            recycle: env.var("DB_POOL_RECYCLE", "Maximum lifetime of a connection, in seconds").checked(
                Duration::from_secs(3600),
                |d| !d.is_zero(),
                "at least 1",
            ),
            null_pool: env.var("DB_USE_NULL_POOL", "Close connections after each use, for serverless databases").or(false),
            pgbouncer: env.var("DB_PGBOUNCER", "Postgres is reached through a pooler in transaction mode, such as PgBouncer").or(false),
            direct_url,
            run_migrations: env.var("RUN_MIGRATIONS", "Apply pending migrations at start").or(true),
            statement_timeout: Duration::from_millis(4500),
        }
    }
}

/// A parsed `DATABASE_URL`. Driver suffixes such as `+asyncpg` are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Postgres(PostgresUrl),
    Sqlite(SqliteUrl),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqliteUrl {
    File(PathBuf),
    Memory,
}

impl DatabaseUrl {
    /// `Postgres at host/name` or `SQLite at path`: for banners and logs, without user and password.
    pub fn describe(&self) -> String {
        match self {
            Self::Postgres(url) => url.describe(),
            Self::Sqlite(SqliteUrl::File(path)) => format!("SQLite at {}", path.display()),
            Self::Sqlite(SqliteUrl::Memory) => "SQLite in memory (gone at exit)".to_owned(),
        }
    }

    /// Records warnings about what the URL asks for and does not get, and about a connection that others can read.
    pub fn warn(&self, variable: &str, env: &mut Env) {
        let Self::Postgres(url) = self else { return };
        for (reason, remedy) in url.warnings() {
            env.warning(variable, reason, remedy);
        }
        if env.environment().is_production() && url.is_unprotected() {
            env.warning(
                variable,
                "does not demand TLS: somebody on the way can read and change what is sent",
                "Add ?sslmode=require, or verify-full, unless the network is private",
            );
        }
    }
}

impl Value for DatabaseUrl {
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(['"', '\'']) {
            return Err("a URL without quotes around it".to_owned());
        }
        let wants = || "a URL that starts with postgres://, postgresql:// or sqlite://".to_owned();
        let (scheme, rest) = text.split_once(':').ok_or_else(wants)?;
        match scheme.split('+').next() {
            Some("postgres" | "postgresql") => PostgresUrl::parse(rest).map(Self::Postgres).map_err(str::to_owned),
            Some("sqlite") => {
                // `sqlite://x` and `sqlite:///x` are relative, `sqlite:////x` is absolute.
                let path = rest.strip_prefix("//").unwrap_or(rest);
                let path = path.strip_prefix('/').unwrap_or(path);
                let path = path.split('?').next().unwrap_or(path);
                match path {
                    ":memory:" => Ok(Self::Sqlite(SqliteUrl::Memory)),
                    "" => Err("a SQLite URL with a path".to_owned()),
                    path => Ok(Self::Sqlite(SqliteUrl::File(path.into()))),
                }
            }
            _ => Err(wants()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Postgres(url) => url.show(),
            Self::Sqlite(SqliteUrl::File(path)) => format!("sqlite:///{}", path.display()),
            Self::Sqlite(SqliteUrl::Memory) => "sqlite::memory:".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> DatabaseUrl {
        DatabaseUrl::Sqlite(SqliteUrl::File(path.into()))
    }

    #[test]
    fn sqlite_url_slashes_choose_relative_or_absolute_path() {
        for (text, wanted) in [
            ("sqlite://x.db", file("x.db")),
            ("sqlite:///x.db", file("x.db")),
            ("sqlite:///./dev.db", file("./dev.db")),
            ("sqlite:////var/x.db", file("/var/x.db")),
            ("sqlite+aiosqlite:///x.db", file("x.db")),
            ("sqlite::memory:", DatabaseUrl::Sqlite(SqliteUrl::Memory)),
            ("sqlite://:memory:", DatabaseUrl::Sqlite(SqliteUrl::Memory)),
            ("sqlite:///:memory:", DatabaseUrl::Sqlite(SqliteUrl::Memory)),
        ] {
            assert_eq!(DatabaseUrl::parse(text).unwrap(), wanted, "{text}");
        }
        assert!(DatabaseUrl::parse("mysql://h/x").is_err());
        assert!(DatabaseUrl::parse("sqlite://").is_err());
    }

    #[test]
    fn postgres_url_drops_driver_and_hides_password() {
        let wanted = DatabaseUrl::parse("postgres://u:hunter2@h:5432/db?sslmode=require").unwrap();
        for text in [
            "postgresql+asyncpg://u:hunter2@h:5432/db?ssl=require",
            "postgresql+psycopg2://u:hunter2@h:5432/db?sslmode=require",
            "postgresql://u:hunter2@h:5432/db?sslmode=require",
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert_eq!(url, wanted, "{text}");
            assert!(!url.show().contains("hunter2") && !url.describe().contains("hunter2") && !format!("{url:?}").contains("hunter2"));
        }
        for text in ["\"postgres://u:hunter2@h/db\"", "postgres:h", "jdbc:postgresql://h/db", "host=h dbname=db", "mysql://h/db"] {
            let refused = DatabaseUrl::parse(text).unwrap_err();
            assert!(refused.starts_with("a ") && !refused.contains("hunter2"), "{refused}");
        }
    }
}
