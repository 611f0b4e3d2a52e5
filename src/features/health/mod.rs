//! Liveness and readiness, for balancers and orchestrators. No tables, no settings.
//!
//! Liveness touches nothing: a database that is down is no reason to restart the process. Readiness asks
//! the database and Redis, each for two seconds at most.

mod routes;

use crate::app::feature::Feature;

pub const FEATURE: Feature = Feature { public: routes::public, ..Feature::new("health") };
