//! Settings of a Postgres session, and how statements reach it: directly, or through a pooler that gives each transaction
//! another session.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::config::{Config, DatabaseUrl};

/// Time between the server's limit of a statement and ours, which only a dead connection reaches.
const MARGIN: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(super) struct Session {
    settings: Vec<(&'static str, String)>,
    /// Each statement outside of a transaction gets one of its own, and none is prepared for longer than that.
    pub pooled: bool,
    /// The URL past a pooler.
    direct: Option<String>,
    /// Opens a transaction.
    pub begin: SqlStr,
    /// Time limit of a statement on our side.
    pub limit: Duration,
}

impl Session {
    pub fn new(config: &Config) -> Self {
        let settings = vec![("statement_timeout", config.statement_timeout.as_millis().to_string())];
        let direct = match &config.direct_url {
            Some(DatabaseUrl::Postgres(url)) => Some((**url).to_owned()),
            _ => None,
        };
        let begin = "BEGIN".into_sql_str();
        Self { settings, pooled: config.pgbouncer, direct, begin, limit: config.statement_timeout + MARGIN }.ready()
    }

    /// The same with further settings.
    pub fn with<const N: usize>(&self, more: [(&'static str, &str); N]) -> Self {
        let mut session = self.clone();
        session.settings.extend(more.map(|(name, value)| (name, value.to_owned())));
        session.ready()
    }

    /// A pooler takes no settings at the start, and would give them to others: there, each transaction sets its own.
    fn ready(mut self) -> Self {
        if self.pooled {
            let mut begin = "BEGIN".to_owned();
            for (name, value) in &self.settings {
                begin.extend(["; SET LOCAL ", name, " = ", value]);
            }
            self.begin = AssertSqlSafe(Arc::<str>::from(begin)).into_sql_str();
        }
        self
    }

    /// The options for a connection to this URL.
    pub fn options(&self, url: &str) -> sqlx::Result<PgConnectOptions> {
        Ok(self.apply(PgConnectOptions::from_str(url)?.application_name("omnistack")))
    }

    /// The options for a connection whose statements may take long, and whether it goes through a pooler.
    pub fn for_migrations(&self, url: &str) -> sqlx::Result<(PgConnectOptions, bool)> {
        let pooled = self.pooled && self.direct.is_none();
        let options = PgConnectOptions::from_str(self.direct.as_deref().unwrap_or(url))?.application_name("omnistack");
        Ok((if pooled { options.extra_float_digits(None) } else { options.options([("statement_timeout", "0")]) }, pooled))
    }

    pub fn apply(&self, options: PgConnectOptions) -> PgConnectOptions {
        // PgBouncer refuses both, unless told otherwise.
        if self.pooled {
            options.extra_float_digits(None)
        } else {
            options.options(self.settings.iter().map(|(name, value)| (name, value)))
        }
    }
}
