//! Metrics of the feature.

use prometheus::IntCounterVec;

use crate::app::feature::Setup;

#[derive(Clone)]
pub struct State {
    /// Differences between what was stored and what the vendor said, by vendor.
    pub differences: IntCounterVec,
    /// Subscriptions that began while another one of the same user ran, by vendor.
    pub parallel: IntCounterVec,
}

impl State {
    pub fn new(setup: &Setup<'_>) -> Self {
        Self {
            differences: setup.metrics.counter(
                "subscription_differences_total",
                "Subscriptions whose stored state differed from the vendor's, and was corrected",
                &["provider"],
            ),
            parallel: setup.metrics.counter(
                "subscription_parallel_total",
                "Subscriptions that began while another one of the same user was paid for",
                &["provider"],
            ),
        }
    }
}
