//! Vendor registration: a name, settings that the vendor reads itself, and a client built from them.
//!
//! A vendor is one file, its `mod` line and its line in the list of its kind (`VENDORS`).

use std::sync::Arc;

use super::ProviderError;
use crate::platform::config::Env;
use crate::platform::crypto::Keys;
use crate::platform::outgoing::{Outgoing, Service};
use crate::platform::telemetry::metrics::Metrics;

/// One vendor of a kind `P`, such as `dyn EmailProvider`.
pub struct Vendor<P: ?Sized + 'static> {
    /// Value of the kind's variable that selects this vendor.
    pub name: &'static str,
    /// Reads its variables, whether or not it is the chosen vendor, so that all of them are documented.
    pub read: fn(&mut Env) -> Arc<dyn VendorSettings<P>>,
}

/// The settings of one vendor.
pub trait VendorSettings<P: ?Sized>: std::fmt::Debug + Send + Sync {
    /// Reports missing or invalid settings; called for the chosen vendor only.
    fn check(&self, env: &mut Env);

    /// Builds the client; no network access.
    fn connect(&self, outside: &Outside) -> Result<Arc<P>, ProviderError>;
}

/// Dependencies of vendor clients.
#[derive(Clone)]
pub struct Outside {
    pub outgoing: Outgoing,
    pub keys: Keys,
    pub metrics: Metrics,
}

impl Outside {
    /// The HTTP client of a vendor. Its operations are counted by the vendor's kind.
    pub fn service(&self, vendor: &'static str) -> Service {
        self.outgoing.service(vendor).counted_by_caller()
    }

    /// Like [`Outside::service`], with a circuit breaker.
    pub fn service_with_breaker(&self, vendor: &'static str) -> Service {
        self.outgoing.service_with_breaker(vendor).counted_by_caller()
    }
}

/// Reads the settings of every vendor of a kind; checks and returns those of the chosen vendor. `variable` selects the
/// vendor, the first of the list is the default.
pub fn choose<P: ?Sized>(
    env: &mut Env,
    variable: &'static str,
    help: &'static str,
    vendors: &'static [&'static Vendor<P>],
) -> (&'static str, Arc<dyn VendorSettings<P>>) {
    let names: Vec<&'static str> = vendors.iter().map(|vendor| vendor.name).collect();
    let chosen = env.var(variable, help).one_of(&names);
    let mut settings = None;
    for vendor in vendors {
        let read = (vendor.read)(env);
        if vendor.name == chosen || settings.is_none() {
            settings = Some(read);
        }
    }
    let settings = settings.unwrap_or_else(|| (vendors[0].read)(env));
    settings.check(env);
    (chosen, settings)
}
