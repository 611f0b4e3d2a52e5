//! Projects: the example resource. A user's own rows, searched, paged, softly deleted.
//!
//! Table `projects`. Routes `/app/projects…`. To write your own resource, copy this folder. To remove it:
//! `make without c=projects` shows what goes.

pub mod model;
mod routes;
pub mod service;
mod store;

use crate::app::feature::Feature;

pub const FEATURE: Feature =
    Feature { app: routes::app, after_migrations: |db| Box::pin(service::fold_names(db)), ..Feature::new("projects") };
