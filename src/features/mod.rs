//! The only list of features; what others stand on comes first. To remove one: delete its folder, its test and its lines here.

use crate::app::feature::{Feature, Step};
use crate::platform::db::Db;

pub mod accounts;
pub mod emails;
pub mod files;
pub mod health;
pub mod jobs;
pub mod mailbox;
pub mod maintenance;
pub mod metrics;
pub mod privacy;
pub mod projects;
pub mod reports;
pub mod users;

#[rustfmt::skip] // A line each: a feature goes with its lines.
pub fn all() -> Vec<Feature> {
    vec![
        health::FEATURE,
        metrics::FEATURE,
        emails::FEATURE,
        users::FEATURE,
        accounts::FEATURE,
        projects::FEATURE,
        files::FEATURE,
        privacy::FEATURE,
        reports::FEATURE,
        jobs::FEATURE,
        maintenance::FEATURE,
        mailbox::FEATURE,
    ]
}

/// What features do after the migrations.
pub fn after_migrations() -> Vec<fn(Db) -> Step> {
    all().into_iter().map(|feature| feature.after_migrations).collect()
}
