//! The metrics page for Prometheus. Setting: `METRICS_TOKEN`. No tables.

mod routes;

use utoipa_axum::routes;

use crate::app::App;
use crate::app::feature::{Feature, Setup};
use crate::platform::http::{Endpoints, Policy};
use routes::PageState;

pub struct Metrics;

impl Feature<App> for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(PageState::new(setup.metrics));
        Ok(())
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("metrics", "For Prometheus")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new().add(Policy::probe(), routes!(routes::metrics)).add(Policy::probe(), routes!(routes::metrics_health))
    }
}
