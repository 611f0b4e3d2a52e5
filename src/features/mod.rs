//! The only list of features. To remove one: delete its folder, its test and its lines here.

use crate::app::feature::{Feature, Step};
use crate::platform::db::Db;

pub mod health;
pub mod metrics;
pub mod projects;
pub mod users;

#[rustfmt::skip] // A line each: a feature goes with its lines.
pub fn all() -> Vec<Feature> {
    vec![
        health::FEATURE,
        metrics::FEATURE,
        users::FEATURE,
        projects::FEATURE,
    ]
}

/// What features do after the migrations.
pub fn after_migrations() -> Vec<fn(Db) -> Step> {
    all().into_iter().map(|feature| feature.after_migrations).collect()
}
