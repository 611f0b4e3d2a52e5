//! Files: a user's own uploads. The row is here, the bytes are in the storage (`providers::storage`), which clients send
//! them to and fetch them from by signed permissions.
//!
//! Table `files`. Routes `/app/files…`, and `/public/storage…` for the local folder.

mod content;
pub mod model;
mod names;
mod routes;
pub mod service;
mod store;

use crate::app::feature::{Cleanup, Feature, When};

pub const FEATURE: Feature = Feature {
    public: routes::public::public,
    app: routes::app::app,
    export: |app, owner| Box::pin(async move { service::export(&app, &owner).await }),
    erase: |app, tx, owner| Box::pin(service::erase(app, tx, owner)),
    jobs: |registry| registry.add::<service::removal::RemoveObjects>(),
    cleanup: &[Cleanup { when: When::Old, run: |app| Box::pin(async move { service::removal::purge_pending(&app).await }) }],
    ..Feature::new("files")
};
