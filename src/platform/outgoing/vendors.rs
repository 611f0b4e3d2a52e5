//! State of each vendor, shared by all clients of it: circuit breaker, cool-downs, and what it last said about our account.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGaugeVec;

use super::breaker::{Breaker, BreakerState};
use super::cooldown::CoolDowns;

/// A problem that only the operator can solve, as the vendor last reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountProblem {
    /// The vendor does not accept our key.
    KeyRefused,
    /// The account is out of credit, or its billing is not set up.
    Billing,
}

/// State of one vendor, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorState {
    pub service: &'static str,
    /// Always closed for a vendor without a breaker.
    pub breaker: BreakerState,
    pub account: Option<AccountProblem>,
    /// Number of things, such as models, that are cooling down.
    pub cooling: usize,
}

/// What all clients of one vendor share.
#[derive(Default)]
pub(super) struct Shared {
    pub cool_downs: CoolDowns,
    account: Mutex<Option<AccountProblem>>,
}

impl Shared {
    pub fn set_account(&self, problem: Option<AccountProblem>) {
        *self.account.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub fn account(&self) -> Option<AccountProblem> {
        *self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The vendors that have a client, by name. Cheap to clone (`Arc`).
#[derive(Clone)]
pub(super) struct Vendors {
    known: Arc<Mutex<BTreeMap<&'static str, Known>>>,
    gauges: IntGaugeVec,
}

#[derive(Default, Clone)]
struct Known {
    shared: Arc<Shared>,
    breaker: Option<Arc<Breaker>>,
}

impl Vendors {
    /// `gauges` are the states of the breakers, by service.
    pub fn new(gauges: IntGaugeVec) -> Self {
        Self { known: Arc::default(), gauges }
    }

    pub fn shared(&self, name: &'static str) -> Arc<Shared> {
        self.with(name, |known| known.shared.clone())
    }

    pub fn breaker(&self, name: &'static str) -> Arc<Breaker> {
        let new = || Arc::new(Breaker::new(name, self.gauges.with_label_values(&[name])));
        self.with(name, |known| known.breaker.get_or_insert_with(new).clone())
    }

    /// The state of every vendor, by name.
    pub fn states(&self) -> Vec<VendorState> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |(service, known): (&&'static str, &Known)| VendorState {
            service,
            breaker: known.breaker.as_ref().map_or(BreakerState::Closed, |breaker| breaker.state()),
            account: known.shared.account(),
            cooling: known.shared.cool_downs.count(),
        };
        known.iter().map(state).collect()
    }

    fn with<T>(&self, name: &'static str, read: impl FnOnce(&mut Known) -> T) -> T {
        read(self.known.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default())
    }
}
