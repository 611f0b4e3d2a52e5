//! The metrics page for Prometheus, and whether it can be had. Setting: `METRICS_TOKEN`. No tables.

mod routes;

use crate::app::feature::Feature;

pub const FEATURE: Feature = Feature { public: routes::public, ..Feature::new("metrics") };
