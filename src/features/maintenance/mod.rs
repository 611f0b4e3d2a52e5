//! Clean-up: expired records are removed hourly, records past their retention period weekly. Each feature selects its records in
//! its `cleanup` hook. No tables, no routes. Functions `cleanup_old_data` and `sweep_expired`.

mod jobs;

use async_trait::async_trait;

use crate::app::App;
use crate::app::config::Config;
use crate::app::feature::{Feature, Removed, When};
use crate::app::jobs::{Registry, Schedules};
use crate::platform::error::Result;
use crate::platform::http::idempotency;

pub struct Maintenance;

#[async_trait]
impl Feature<App> for Maintenance {
    fn name(&self) -> &'static str {
        "maintenance"
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<jobs::CleanupOldData>();
        registry.add::<jobs::SweepExpired>();
    }

    fn schedules(&self, _: &Config, schedules: &mut Schedules<App>) {
        schedules.add::<jobs::CleanupOldData>("0 0 * * SUN");
        schedules.add::<jobs::SweepExpired>("0 * * * *");
    }

    /// Removes records without a feature: finished jobs, and responses stored for idempotency keys.
    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        match when {
            When::Expired => {
                let jobs = app.jobs.sweep_finished(&app.db).await?;
                Ok(Removed::records(jobs + idempotency::sweep(&app.db, app.clock.now()).await?))
            }
            When::Old => Ok(Removed::default()),
        }
    }
}
