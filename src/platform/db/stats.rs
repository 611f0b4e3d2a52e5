//! What is measured of every query: count, duration, errors, and a line in the log for slow ones.

use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::Sql;
use crate::platform::telemetry::metrics::METRICS;
use crate::platform::telemetry::millis;

/// Longer queries are logged.
const SLOW: Duration = Duration::from_millis(500);

/// The metric handles of one text, looked up once.
pub(super) struct Stats {
    operation: &'static str,
    table: &'static str,
    count: IntCounter,
    duration: Histogram,
}

impl Stats {
    pub fn of(sql: &'static Sql) -> &'static Self {
        sql.stats.get_or_init(|| {
            let (operation, table) = labels(sql.text);
            Self {
                operation,
                table,
                count: METRICS.db_queries.with_label_values(&[operation, table]),
                duration: METRICS.db_query_duration.with_label_values(&[operation, table]),
            }
        })
    }

    pub fn observe(&self, sql: &Sql, took: Duration, error: Option<&sqlx::Error>) {
        self.count.inc();
        self.duration.observe(took.as_secs_f64());
        if let Some(error) = error {
            METRICS.db_errors.with_label_values(&[kind(error)]).inc();
        }
        if took > SLOW {
            tracing::warn!(operation = self.operation, table = self.table, duration_ms = millis(took), "slow query");
        }
        tracing::debug!(sql = sql.text, duration_ms = millis(took), "query");
    }
}

/// Operation and first table of a text of ours: `SELECT … FROM users …` is (`SELECT`, `users`).
fn labels(text: &'static str) -> (&'static str, &'static str) {
    let mut words = text.split_whitespace();
    let operation = words.next().unwrap_or("OTHER");
    let mut words = text.split_whitespace();
    let table = words
        .by_ref()
        .find(|word| matches!(*word, "FROM" | "INTO" | "UPDATE"))
        .and_then(|_| words.next())
        .map_or("none", |word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    (operation, table)
}

fn kind(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::PoolTimedOut => "pool_timeout",
        sqlx::Error::PoolClosed => "pool_closed",
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => "connection",
        sqlx::Error::Database(db) if db.is_unique_violation() => "unique_violation",
        sqlx::Error::Database(_) if super::is_contended(error) => "contended",
        sqlx::Error::Database(_) if super::is_temporary(error) => "temporary",
        sqlx::Error::Database(_) => "database",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn operation_and_table_come_from_the_text() {
        assert_eq!(labels("SELECT id FROM users WHERE id = $1"), ("SELECT", "users"));
        assert_eq!(labels("INSERT INTO projects (id) VALUES ($1)"), ("INSERT", "projects"));
        assert_eq!(labels("UPDATE users SET role = $1"), ("UPDATE", "users"));
        assert_eq!(labels("SELECT 1"), ("SELECT", "none"));
    }
}
