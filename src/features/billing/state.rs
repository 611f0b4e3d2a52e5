//! State of the feature: the client of Stripe, allowed hosts and metrics.

use std::sync::Arc;

use prometheus::IntCounterVec;

use super::config::{Host, Settings};
use crate::app::feature::Setup;
use crate::platform::error::{Error, Result};
use crate::providers::payments::stripe::{Config, Operation, Stripe};

/// Cheap to clone.
#[derive(Clone)]
pub struct State {
    /// `None` without a key.
    pub stripe: Option<Stripe>,
    pub redirect_hosts: Arc<[Host]>,
    pub meter_reports: IntCounterVec,
}

impl State {
    pub fn new(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let missing = || anyhow::anyhow!("no settings");
        let config: &Config = setup.config.feature().ok_or_else(missing)?;
        let settings: &Settings = setup.config.feature().ok_or_else(missing)?;
        let hosts = settings.redirect_hosts.clone().unwrap_or_else(|| Host::of_origins(&setup.config.core.cors_origins));
        let help = "Reports of Stripe that usage events of a meter were not accepted";
        Ok(Self {
            stripe: Stripe::new(config, setup.outgoing),
            redirect_hosts: hosts.into(),
            meter_reports: setup.metrics.counter("stripe_meter_error_reports_total", help, &["event_type"]),
        })
    }

    /// Starts calls to Stripe. 503 without a key.
    pub fn operation(&self) -> Result<Operation<'_>> {
        self.stripe.as_ref().map(Stripe::operation).ok_or(NOT_CONFIGURED)
    }
}

pub const NOT_CONFIGURED: Error = Error::Unavailable { message: "Billing is not configured", retry_after: None };
