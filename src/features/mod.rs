//! The only list of features. To remove one: delete its folder, its test and its lines here.

use crate::app::feature::Feature;

pub mod health;
pub mod metrics;
pub mod projects;
pub mod users;

pub fn all() -> Vec<Feature> {
    vec![health::FEATURE, metrics::FEATURE, users::FEATURE, projects::FEATURE]
}
