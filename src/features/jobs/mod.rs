//! API of the job queue for administrators. Routes `/admin/jobs…`. The queue itself is `app::jobs`, its command line `omnistack
//! jobs`. Remove this folder to remove only this API.

mod model;
mod routes;

use utoipa_axum::routes;

use crate::app::App;
use crate::app::feature::Feature;
use crate::platform::http::{Endpoints, Policy};

pub struct Jobs;

impl Feature<App> for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new()
            .add(Policy::admin(), routes!(routes::list))
            .add(Policy::admin(), routes!(routes::get, routes::cancel))
            .add(Policy::admin(), routes!(routes::retry))
    }
}
