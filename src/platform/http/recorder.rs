//! The HTTP metrics of one route, with the handles of each method and status looked up once.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use http::{Method, StatusCode};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::platform::id::UserId;
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::usage::{Labels, Metric, Usage};

const BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"];

/// The HTTP metric families of an application.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    in_progress: IntGaugeVec,
    usage: Usage,
}

impl HttpMetrics {
    pub fn new(metrics: &Metrics, usage: &Usage) -> Self {
        Self {
            usage: usage.clone(),
            requests: metrics.counter("http_requests_total", "HTTP requests answered", &["method", "endpoint", "status_code"]),
            duration: metrics.histogram(
                "http_request_duration_seconds",
                "Time from a request's head to the last byte of its answer",
                &["method", "endpoint"],
                BUCKETS,
            ),
            in_progress: metrics.gauge("http_requests_in_progress", "HTTP requests being answered", &["method", "endpoint"]),
        }
    }
}

/// Records the requests of one route.
pub struct Recorder {
    metrics: HttpMetrics,
    /// The route's template: never a raw path.
    endpoint: String,
    /// Whether its requests count as usage of their callers.
    counted: bool,
    methods: [OnceLock<Arc<MethodRecorder>>; METHODS.len()],
}

impl Recorder {
    pub fn new(metrics: &HttpMetrics, endpoint: &str, counted: bool) -> Self {
        Self { metrics: metrics.clone(), endpoint: endpoint.to_owned(), counted, methods: [const { OnceLock::new() }; METHODS.len()] }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn of(&self, method: &Method) -> &Arc<MethodRecorder> {
        let index = METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1);
        self.methods[index].get_or_init(|| {
            let labels = [METHODS[index], &self.endpoint];
            Arc::new(MethodRecorder {
                in_progress: self.metrics.in_progress.with_label_values(&labels),
                duration: self.metrics.duration.with_label_values(&labels),
                requests: RwLock::default(),
                family: self.metrics.requests.clone(),
                labels: [METHODS[index].to_owned(), self.endpoint.clone()],
                usage: self.counted.then(|| {
                    let labels = [format!("endpoint:{}", self.endpoint), format!("method:{}", METHODS[index])];
                    (self.metrics.usage.clone(), labels.into())
                }),
            })
        })
    }
}

/// Records the requests of one method of a route.
pub struct MethodRecorder {
    pub in_progress: IntGauge,
    duration: Histogram,
    requests: RwLock<Vec<(StatusCode, IntCounter)>>,
    family: IntCounterVec,
    labels: [String; 2],
    usage: Option<(Usage, Labels)>,
}

impl MethodRecorder {
    /// Counts a request as usage of the account, if its route counts and it did not fail.
    pub fn count_usage(&self, status: StatusCode, account: Option<&UserId>) {
        if let Some((usage, labels)) = &self.usage
            && status.as_u16() < 400
        {
            usage.record(account, Metric::ApiRequests, 1, labels);
        }
    }

    /// Records a response after its last byte was written.
    pub fn record(&self, status: StatusCode, seconds: f64) {
        self.duration.observe(seconds);
        {
            let known = self.requests.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, counter)) = known.iter().find(|(known, _)| *known == status) {
                return counter.inc();
            }
        }
        let counter = self.family.with_label_values(&[self.labels[0].as_str(), self.labels[1].as_str(), status.as_str()]);
        counter.inc();
        self.requests.write().unwrap_or_else(PoisonError::into_inner).push((status, counter));
    }
}
