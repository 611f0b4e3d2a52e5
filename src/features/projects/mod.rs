//! Projects: the example resource. A user's own rows, searched, paged, softly deleted.
//!
//! Table `projects`. Routes `/app/projects…`. To write your own resource, copy this folder. To remove it:
//! `make without c=projects` shows what goes.

pub mod model;
mod routes;
pub mod service;
mod store;

use crate::app::feature::{Cleanup, Feature, When};

pub const FEATURE: Feature = Feature {
    app: routes::app,
    export: |app, owner| Box::pin(async move { service::export(&app, &owner).await }),
    erase: |_, tx, owner| Box::pin(async move { Ok(store::erase(tx, owner).await?) }),
    seed: |app, owner| Box::pin(service::seed(app, owner)),
    cleanup: &[Cleanup { when: When::Old, run: |app| Box::pin(async move { service::purge_deleted(&app).await }) }],
    after_migrations: |db| Box::pin(service::fold_names(db)),
    ..Feature::new("projects")
};
