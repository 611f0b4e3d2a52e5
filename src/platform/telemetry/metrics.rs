//! The metrics of the process, in Prometheus' text format (version 0.0.4).
//!
//! Label values never come unchecked from a client: endpoints are route templates, methods the standard
//! ones. Each name has its HELP and TYPE lines from the start, with or without a sample.

use std::fmt::Write as _;
use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// Every metric that is recorded.
pub struct Metrics {
    registry: Registry,
    declared: Vec<Declared>,
    pub app_info: IntGaugeVec,
    pub http_requests: IntCounterVec,
    pub http_duration: HistogramVec,
    pub http_in_progress: IntGaugeVec,
    pub db_queries: IntCounterVec,
    pub db_query_duration: HistogramVec,
    pub db_pool_connections: IntGaugeVec,
    pub db_errors: IntCounterVec,
    pub cache_hits: IntCounterVec,
    pub cache_misses: IntCounterVec,
    pub redis_connections: IntGauge,
    pub users: IntGaugeVec,
    pub active_subscriptions: IntGaugeVec,
    pub background_jobs: IntCounterVec,
    pub background_job_duration: HistogramVec,
    pub background_job_queue_size: IntGaugeVec,
    pub external_requests: IntCounterVec,
    pub external_duration: HistogramVec,
    pub rate_limit_hits: IntCounterVec,
    pub auth_failures: IntCounterVec,
    pub auth_events: IntCounterVec,
    pub token_operations: IntCounterVec,
    pub active_sessions: IntGauge,
    pub errors: IntCounterVec,
}

struct Declared {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

/// Names that dashboards may ask for before the part that records them has been used.
const LATER: &[Declared] = &[
    Declared { name: "llm_requests_total", kind: "counter", help: "Requests to language models" },
    Declared { name: "llm_tokens_total", kind: "counter", help: "Tokens used by language models" },
    Declared { name: "llm_request_duration_seconds", kind: "histogram", help: "Time that language models took" },
    Declared { name: "webhook_events_total", kind: "counter", help: "Webhook events by provider, type and outcome" },
];

const HTTP_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const DB_BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
const JOB_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0];
const EXTERNAL_BUCKETS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Registers families and remembers their names.
struct Builder {
    registry: Registry,
    declared: Vec<Declared>,
}

#[expect(clippy::expect_used, reason = "names and labels are literals of this file; a wrong one fails the first test")]
impl Builder {
    fn add<C: Collector + Clone + 'static>(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        made: prometheus::Result<C>,
    ) -> C {
        let collector = made.expect("valid name and labels");
        self.registry.register(Box::new(collector.clone())).expect("unique name");
        self.declared.push(Declared { name, kind, help });
        collector
    }

    fn counter(&mut self, name: &'static str, help: &'static str, labels: &[&str]) -> IntCounterVec {
        self.add(name, "counter", help, IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[&str]) -> IntGaugeVec {
        self.add(name, "gauge", help, IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn int_gauge(&mut self, name: &'static str, help: &'static str) -> IntGauge {
        self.add(name, "gauge", help, IntGauge::new(name, help))
    }

    fn histogram(&mut self, name: &'static str, help: &'static str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.add(name, "histogram", help, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }
}

impl Metrics {
    fn new() -> Self {
        let mut b = Builder { registry: Registry::new(), declared: Vec::new() };
        Self {
            app_info: b.gauge("app_info", "Name and environment of the service", &["name", "environment"]),
            http_requests: b.counter("http_requests_total", "HTTP requests answered", &["method", "endpoint", "status_code"]),
            http_duration: b.histogram(
                "http_request_duration_seconds",
                "Time to answer HTTP requests",
                &["method", "endpoint"],
                HTTP_BUCKETS,
            ),
            http_in_progress: b.gauge("http_requests_in_progress", "HTTP requests being answered", &["method", "endpoint"]),
            db_queries: b.counter("db_queries_total", "Database queries", &["operation", "table"]),
            db_query_duration: b.histogram(
                "db_query_duration_seconds",
                "Time that database queries took",
                &["operation", "table"],
                DB_BUCKETS,
            ),
            db_pool_connections: b.gauge("db_pool_connections", "Database connections by state", &["state"]),
            db_errors: b.counter("db_errors_total", "Failed database queries by kind", &["error_type"]),
            cache_hits: b.counter("cache_hits_total", "Cache look-ups that found a value", &["cache_type"]),
            cache_misses: b.counter("cache_misses_total", "Cache look-ups that found none", &["cache_type"]),
            redis_connections: b.int_gauge("redis_connections", "Redis connections open"),
            users: b.gauge("users_total", "Users by status; refreshed at most once a minute", &["status"]),
            active_subscriptions: b.gauge(
                "active_subscriptions_total",
                "Active subscriptions by plan; refreshed at most once a minute",
                &["plan"],
            ),
            background_jobs: b.counter(
                "background_jobs_total",
                "Jobs by function and status; started, completed and failed count attempts",
                &["job_name", "status"],
            ),
            background_job_duration: b.histogram(
                "background_job_duration_seconds",
                "Time that attempts of jobs took",
                &["job_name"],
                JOB_BUCKETS,
            ),
            background_job_queue_size: b.gauge("background_job_queue_size", "Jobs whose time has come and that wait", &["queue_name"]),
            external_requests: b.counter(
                "external_service_requests_total",
                "Calls to outside services",
                &["service", "operation", "status"],
            ),
            external_duration: b.histogram(
                "external_service_duration_seconds",
                "Time that outside services took",
                &["service", "operation"],
                EXTERNAL_BUCKETS,
            ),
            rate_limit_hits: b.counter("rate_limit_hits_total", "Requests refused by a rate limit", &["class", "endpoint", "client_type"]),
            auth_failures: b.counter("auth_failures_total", "Requests refused for their credentials", &["reason"]),
            auth_events: b.counter("auth_events_total", "Log-ins, sign-ups and what follows them", &["event", "provider"]),
            token_operations: b.counter(
                "token_operations_total",
                "Access tokens issued, verified (once a minute while in use), refused as expired; sessions revoked",
                &["operation"],
            ),
            active_sessions: b.int_gauge("active_sessions", "Users with an authenticated request in the last 15 minutes"),
            errors: b.counter("errors_total", "Error answers by code", &["code"]),
            registry: b.registry,
            declared: b.declared,
        }
    }

    /// Counts one call to an outside service.
    pub fn external(&self, service: &str, operation: &str, ok: bool, seconds: f64) {
        self.external_requests.with_label_values(&[service, operation, if ok { "success" } else { "error" }]).inc();
        self.external_duration.with_label_values(&[service, operation]).observe(seconds);
    }

    /// The whole page.
    pub fn render(&self) -> anyhow::Result<String> {
        let families = self.registry.gather();
        let mut out = Vec::new();
        TextEncoder::new().encode(&families, &mut out)?;
        let mut out = String::from_utf8(out)?;
        for Declared { name, kind, help } in self.declared.iter().chain(LATER) {
            if !families.iter().any(|family| family.name() == *name) {
                let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_declared_once() {
        METRICS.app_info.with_label_values(&["x", "local"]).set(1);
        let page = METRICS.render().unwrap();
        for name in ["http_requests_total", "db_pool_connections", "llm_tokens_total", "app_info", "redis_connections"] {
            assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
            assert_eq!(page.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
        }
    }
}
