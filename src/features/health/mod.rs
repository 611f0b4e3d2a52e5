//! Liveness and readiness probes for load balancers and orchestrators. No tables, no settings.
//!
//! Liveness checks no dependency, because restarting the process does not repair a database. Readiness checks the database and
//! Redis, each with a time limit of two seconds.

mod checks;
mod routes;
mod routes_v2;

use utoipa_axum::routes;

use crate::app::App;
use crate::app::feature::Feature;
use crate::platform::http::{Endpoints, Policy};

pub struct Health;

impl Feature<App> for Health {
    fn name(&self) -> &'static str {
        "health"
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("health", "Probes")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        let probe = Policy::probe();
        Endpoints::new()
            .add(probe, routes!(routes::health))
            .add(probe, routes!(routes::ready))
            .add(probe.v2(), routes!(routes_v2::health))
            .add(probe.v2(), routes!(routes_v2::ready))
    }
}
