//! Data rights: export of a user's data (GDPR article 20) and erasure (article 17). Each feature provides its data in its
//! `export` and `erase` hooks.
//!
//! No tables. Routes `/app/users/me/export…`, function `export_user_data`, command `omnistack users erase`.

mod jobs;
mod routes;
pub mod service;

use utoipa_axum::routes;

use crate::app::App;
use crate::app::feature::Feature;
use crate::app::jobs::Registry;
use crate::platform::http::{Endpoints, Policy};

pub struct Privacy;

impl Feature<App> for Privacy {
    fn name(&self) -> &'static str {
        "privacy"
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new().add(Policy::user(), routes!(routes::request)).add(Policy::user(), routes!(routes::get))
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<jobs::ExportUserData>();
    }
}
