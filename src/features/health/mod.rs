//! Liveness and readiness probes for load balancers and orchestrators. No tables, no settings.
//!
//! Liveness checks no dependency, because restarting the process does not repair a database. Readiness checks the database and
//! Redis, each with a time limit of two seconds.

mod routes;

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
        Endpoints::new().add(Policy::probe(), routes!(routes::health)).add(Policy::probe(), routes!(routes::ready))
    }
}
