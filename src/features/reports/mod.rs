//! Daily report of user counts. No tables, no routes. Function `generate_daily_report`, at 09:00 UTC.

mod jobs;

use crate::app::App;
use crate::app::config::Config;
use crate::app::feature::Feature;
use crate::app::jobs::{Registry, Schedules};

pub struct Reports;

impl Feature<App> for Reports {
    fn name(&self) -> &'static str {
        "reports"
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<jobs::GenerateDailyReport>();
    }

    fn schedules(&self, _: &Config, schedules: &mut Schedules<App>) {
        schedules.add::<jobs::GenerateDailyReport>("0 9 * * *");
    }
}
