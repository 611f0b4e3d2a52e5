//! The daily report: how many people there are, came, and joined. No tables, no routes. Function
//! `generate_daily_report`, at 09:00 UTC.

mod jobs;

use crate::app::feature::Feature;

pub const FEATURE: Feature = Feature {
    jobs: |registry| registry.add::<jobs::GenerateDailyReport>(),
    cron: |schedules| schedules.add::<jobs::GenerateDailyReport>("0 9 * * *"),
    ..Feature::new("reports")
};
