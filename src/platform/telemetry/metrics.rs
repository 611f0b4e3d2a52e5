//! The metrics of one application, in Prometheus' text format (version 0.0.4).
//!
//! Each component and each feature registers its own families. Label values never come unchecked from a client: endpoints
//! are route templates, methods the standard ones. Each name has its HELP and TYPE lines from the start, with or without a
//! sample.

use std::fmt::Write as _;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const EXTERNAL_BUCKETS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The registry of one application. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

/// The registry, and the families that several components record to. A component keeps a family that only it uses.
pub struct Inner {
    families: Families,
    pub app_info: IntGaugeVec,
    pub cache_hits: IntCounterVec,
    pub cache_misses: IntCounterVec,
    external_requests: IntCounterVec,
    external_duration: HistogramVec,
    pub auth_failures: IntCounterVec,
    pub auth_events: IntCounterVec,
    pub token_operations: IntCounterVec,
}

#[derive(Default)]
struct Families {
    registry: Registry,
    declared: Mutex<Vec<Declared>>,
}

struct Declared {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

#[expect(clippy::expect_used, reason = "names and labels are literals; a wrong or repeated one fails the first start")]
impl Families {
    fn add<C: Collector + Clone + 'static>(
        &self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        collector: prometheus::Result<C>,
    ) -> C {
        let collector = collector.expect("valid name and labels");
        self.registry.register(Box::new(collector.clone())).expect("unique name");
        self.declare(name, kind, help);
        collector
    }

    fn declare(&self, name: &'static str, kind: &'static str, help: &'static str) {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).push(Declared { name, kind, help });
    }

    fn counter(&self, name: &'static str, help: &'static str, labels: &[&str]) -> IntCounterVec {
        self.add(name, "counter", help, IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &'static str, help: &'static str, labels: &[&str]) -> IntGaugeVec {
        self.add(name, "gauge", help, IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &'static str, help: &'static str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.add(name, "histogram", help, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let families = Families::default();
        Self(Arc::new(Inner {
            app_info: families.gauge("app_info", "Name and environment of the service", &["name", "environment"]),
            cache_hits: families.counter("cache_hits_total", "Cache look-ups that found a value", &["cache_type"]),
            cache_misses: families.counter("cache_misses_total", "Cache look-ups that found none", &["cache_type"]),
            external_requests: families.counter(
                "external_service_requests_total",
                "Calls to outside services",
                &["service", "operation", "status"],
            ),
            external_duration: families.histogram(
                "external_service_duration_seconds",
                "Duration of calls to outside services",
                &["service", "operation"],
                EXTERNAL_BUCKETS,
            ),
            auth_failures: families.counter("auth_failures_total", "Requests refused for their credentials", &["reason"]),
            auth_events: families.counter("auth_events_total", "Log-ins, sign-ups and related events", &["event", "provider"]),
            token_operations: families.counter(
                "token_operations_total",
                "Access tokens issued, verified (once a minute while in use), refused as expired; sessions revoked",
                &["operation"],
            ),
            families,
        }))
    }
}

impl Deref for Metrics {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// Registers a counter. Panics at start if the name is already registered.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[&str]) -> IntCounterVec {
        self.families.counter(name, help, labels)
    }

    /// Registers a counter without labels.
    pub fn int_counter(&self, name: &'static str, help: &'static str) -> IntCounter {
        self.families.add(name, "counter", help, IntCounter::new(name, help))
    }

    /// Registers a gauge with labels.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[&str]) -> IntGaugeVec {
        self.families.gauge(name, help, labels)
    }

    /// Registers a gauge without labels.
    pub fn int_gauge(&self, name: &'static str, help: &'static str) -> IntGauge {
        self.families.add(name, "gauge", help, IntGauge::new(name, help))
    }

    /// Registers a histogram; the buckets are upper bounds in the metric's unit.
    pub fn histogram(&self, name: &'static str, help: &'static str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.families.histogram(name, help, labels, buckets)
    }

    /// Records one call to an external service.
    pub fn external(&self, service: &str, operation: &str, ok: bool, seconds: f64) {
        self.external_requests.with_label_values(&[service, operation, if ok { "success" } else { "error" }]).inc();
        self.external_duration.with_label_values(&[service, operation]).observe(seconds);
    }

    /// Renders all metrics as text.
    pub fn render(&self) -> anyhow::Result<String> {
        let families = self.families.registry.gather();
        let mut out = Vec::new();
        TextEncoder::new().encode(&families, &mut out)?;
        let mut out = String::from_utf8(out)?;
        for Declared { name, kind, help } in self.families.declared.lock().unwrap_or_else(PoisonError::into_inner).iter() {
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
    fn metrics_page_declares_each_name_once() {
        let metrics = Metrics::default();
        metrics.app_info.with_label_values(&["x", "local"]).set(1);
        metrics.counter("later_total", "Recorded later", &[]);
        let page = metrics.render().unwrap();
        for name in ["app_info", "cache_hits_total", "later_total"] {
            assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
            assert_eq!(page.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
        }
    }

    #[test]
    fn metrics_registries_are_independent() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.counter("things_total", "Things", &[]).with_label_values::<&str>(&[]).inc();
        other.counter("things_total", "Things", &[]);
        assert!(one.render().unwrap().contains("things_total 1") && !other.render().unwrap().contains("things_total 1"));
    }
}
