//! The user record: made at first sight of a verified token, shown and changed by its owner, run by administrators.
//!
//! Table `users`. Routes `/app/users/me` and `/admin/users…`. Nearly every feature stands on this one, so it
//! cannot be removed; own profile fields go into `model.rs` and a migration.

pub mod extract;
pub mod model;
mod routes;
pub mod service;
mod store;

use crate::app::feature::Feature;

pub const FEATURE: Feature = Feature {
    app: routes::me::app,
    admin: routes::admin::admin,
    export: |app, id| Box::pin(async move { service::export(&app, &id).await }),
    erase: |app, tx, id| Box::pin(service::erase(app, tx, id)),
    ..Feature::new("users")
};
