//! The queue as administrators see it. Routes `/admin/jobs…`. The queue itself is `app::jobs`, and its command line
//! `omnistack jobs`; to remove only this API, remove this folder.

mod model;
mod routes;

use crate::app::feature::Feature;

pub const FEATURE: Feature = Feature { admin: routes::admin, ..Feature::new("jobs") };
