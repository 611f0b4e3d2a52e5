//! Metrics of the feature.

use prometheus::IntCounterVec;

use crate::app::feature::Setup;

#[derive(Clone)]
pub struct State {
    /// Reports by outcome, see [`Outcome`].
    reports: IntCounterVec,
    /// Delivered quantities by metric.
    units: IntCounterVec,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// Stripe had it already.
    Duplicate,
    /// The meter's sum shows that it was counted.
    Confirmed,
    Refused,
    /// It may have been counted or not: it is tried again.
    Failed,
    /// It could not be delivered within 35 days.
    Expired,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Duplicate => "duplicate",
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

impl State {
    pub fn new(setup: &Setup<'_>) -> Self {
        let help = "Attempts to report usage to Stripe: delivered, duplicate (Stripe had it), confirmed (by the meter's sum), refused, \
            failed (tried again), expired (lost)";
        Self {
            reports: setup.metrics.counter("usage_reports_total", help, &["outcome"]),
            units: setup.metrics.counter("usage_reported_units_total", "Usage that was reported to Stripe", &["metric"]),
        }
    }

    pub fn count(&self, outcome: Outcome) {
        self.reports.with_label_values(&[outcome.name()]).inc();
    }

    pub fn count_units(&self, metric: &str, value: i64) {
        self.units.with_label_values(&[metric]).inc_by(value.unsigned_abs());
    }
}
