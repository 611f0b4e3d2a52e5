//! The job queue and its worker: at-least-once execution despite failures.

mod faults;
mod loss;
mod queue;

use std::time::Duration;

use omnistack::app::jobs::model::{JobRow, Status};
use omnistack::app::jobs::worker::Settings;
use omnistack::app::jobs::{JobId, New};

use crate::harness::functions::{Act, Way};
use crate::harness::{TestApp, eventually};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Worker settings as in production, but with a lease of one second.
fn short_lease(t: &TestApp) -> Settings {
    Settings { lease: ms(1000), poll: ms(50), ..t.settings() }
}

async fn enqueue(t: &TestApp, way: Way) -> JobId {
    t.app.jobs.enqueue(&t.app.db, &Act::new(way), New::default()).await.unwrap().unwrap()
}

async fn row(t: &TestApp, id: JobId) -> JobRow {
    t.app.jobs.get(&t.app.db, id).await.unwrap().unwrap()
}

/// Waits until the job has this status and returns its row.
async fn until(t: &TestApp, id: JobId, status: Status) -> JobRow {
    eventually(&format!("the job is {}", status.name()), async || row(t, id).await.status() == status).await;
    row(t, id).await
}
