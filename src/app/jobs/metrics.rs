//! The metrics of the queue and its worker.

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use crate::platform::telemetry::metrics::Metrics;

const BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0];

pub(super) struct JobMetrics {
    jobs: IntCounterVec,
    duration: HistogramVec,
    pub queue_size: IntGaugeVec,
}

impl JobMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            jobs: metrics.counter(
                "background_jobs_total",
                "Jobs by function and status; started, completed and failed count attempts",
                &["job_name", "status"],
            ),
            duration: metrics.histogram("background_job_duration_seconds", "Duration of attempts of jobs", &["job_name"], BUCKETS),
            queue_size: metrics.gauge("background_job_queue_size", "Jobs that are due and wait", &["queue_name"]),
        }
    }

    /// Counts a step: `enqueued`, `started`, `completed` or `failed`.
    pub fn count(&self, function: &str, step: &str) {
        self.jobs.with_label_values(&[function, step]).inc();
    }

    pub fn observe(&self, function: &str, seconds: f64) {
        self.duration.with_label_values(&[function]).observe(seconds);
    }
}
