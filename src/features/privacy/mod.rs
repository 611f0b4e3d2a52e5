//! A person's rights over their data: a copy of all of it (GDPR article 20), and its removal (article 17). What there
//! is, each feature says in its `export` and `erase` hooks.
//!
//! No tables. Routes `/app/users/me/export…`, function `export_user_data`, command `omnistack users erase`.

mod jobs;
mod routes;
pub mod service;

use crate::app::feature::Feature;

pub const FEATURE: Feature =
    Feature { app: routes::app, jobs: |registry| registry.add::<jobs::ExportUserData>(), ..Feature::new("privacy") };
