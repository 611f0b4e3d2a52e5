//! Query metrics: count, duration, errors, and a log line for slow queries.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::failure::{is_contended, is_temporary, refuses_writes};
use super::sql::{self, Sql};
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::telemetry::millis;

/// Queries that take longer are logged.
const SLOW: Duration = Duration::from_millis(500);

const BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// The metric families of one database, and the handles of each text, looked up once.
pub(super) struct Stats {
    queries: IntCounterVec,
    duration: HistogramVec,
    errors: IntCounterVec,
    handles: Box<[OnceLock<Handles>]>,
    /// The last write was refused: the server is read-only, or a disk is full.
    refuses_writes: AtomicBool,
}

struct Handles {
    operation: &'static str,
    table: &'static str,
    count: IntCounter,
    duration: Histogram,
}

impl Stats {
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            queries: metrics.counter("db_queries_total", "Database queries", &["operation", "table"]),
            duration: metrics.histogram("db_query_duration_seconds", "Duration of database queries", &["operation", "table"], BUCKETS),
            errors: metrics.counter("db_errors_total", "Failed database queries by kind", &["error_type"]),
            handles: (0..sql::count()).map(|_| OnceLock::new()).collect(),
            refuses_writes: AtomicBool::new(false),
        }
    }

    /// Notes that a write became durable.
    pub fn wrote(&self) {
        // A load is cheaper than a store, which all cores would notice.
        if self.refuses_writes() {
            self.refuses_writes.store(false, Ordering::Relaxed);
        }
    }

    /// Notes an error that says that the database takes no writes.
    pub fn refused(&self, error: &sqlx::Error) {
        if refuses_writes(error) {
            self.refuses_writes.store(true, Ordering::Relaxed);
        }
    }

    pub fn refuses_writes(&self) -> bool {
        self.refuses_writes.load(Ordering::Relaxed)
    }

    /// Records one finished query. Trace spans of queries belong here, too.
    pub fn observe(&self, sql: &'static Sql, took: Duration, error: Option<&sqlx::Error>) {
        let Some(handles) = self.handles.get(sql.index()) else { return };
        let handles = handles.get_or_init(|| {
            let (operation, table) = labels(sql.text);
            Handles {
                operation,
                table,
                count: self.queries.with_label_values(&[operation, table]),
                duration: self.duration.with_label_values(&[operation, table]),
            }
        });
        handles.count.inc();
        handles.duration.observe(took.as_secs_f64());
        if let Some(error) = error {
            self.errors.with_label_values(&[kind(error)]).inc();
            self.refused(error);
        }
        if took > SLOW {
            tracing::warn!(operation = handles.operation, table = handles.table, duration_ms = millis(took), "slow query");
        }
        tracing::debug!(sql = sql.text, duration_ms = millis(took), "query");
    }
}

/// Operation and first table of a text: `SELECT … FROM users …` is (`SELECT`, `users`).
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
        sqlx::Error::Database(_) if is_contended(error) => "contended",
        sqlx::Error::Database(_) if is_temporary(error) => "temporary",
        sqlx::Error::Database(_) => "database",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn statement_labels_are_read_from_sql() {
        assert_eq!(labels("SELECT id FROM shelves WHERE id = $1"), ("SELECT", "shelves"));
        assert_eq!(labels("INSERT INTO books (id) VALUES ($1)"), ("INSERT", "books"));
        assert_eq!(labels("UPDATE shelves SET width = $1"), ("UPDATE", "shelves"));
        assert_eq!(labels("SELECT 1"), ("SELECT", "none"));
    }
}
