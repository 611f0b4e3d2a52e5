//! Clean-up: what has expired goes every hour, what has been kept long enough every week. What that is, each feature
//! says in its `cleanup` hook. No tables, no routes. Functions `cleanup_old_data` and `sweep_expired`.

mod jobs;

use crate::app::feature::{Cleanup, Feature, Removed, When};
use crate::platform::http::idempotency;

/// What belongs to no feature: the queue's own rows, and answers kept for repeated requests.
const CLEANUP: &[Cleanup] = &[
    Cleanup {
        when: When::Expired,
        run: |app| Box::pin(async move { Ok(Removed { records: app.jobs.sweep_finished(&app.db).await?, bytes: 0 }) }),
    },
    Cleanup {
        when: When::Expired,
        run: |app| Box::pin(async move { Ok(Removed { records: idempotency::sweep(&app.db, app.clock.now()).await?, bytes: 0 }) }),
    },
];

pub const FEATURE: Feature = Feature {
    jobs: |registry| {
        registry.add::<jobs::CleanupOldData>();
        registry.add::<jobs::SweepExpired>();
    },
    cron: |schedules| {
        schedules.add::<jobs::CleanupOldData>("0 0 * * SUN");
        schedules.add::<jobs::SweepExpired>("0 * * * *");
    },
    cleanup: CLEANUP,
    ..Feature::new("maintenance")
};
