//! Jobs that compare stored subscriptions with their vendors. Each run takes a bounded number and enqueues the next one, so that a
//! stopped process loses nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::{Subscription, SubscriptionId};
use super::{service, store};
use crate::app::App;
use crate::app::jobs::{Fail, Job, New, Run};
use crate::features::users::service::vendors;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;

/// Subscriptions in one run.
const BATCH: i64 = 50;
/// Failures in a row after which a run ends: the vendor is away.
const GIVE_UP: usize = 5;

/// Looks after paid times that ended without an event.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SweepSubscriptions {
    /// The last subscription of the run before.
    #[serde(default)]
    pub after: Option<SubscriptionId>,
}

impl Job<App> for SweepSubscriptions {
    const NAME: &'static str = "sweep_subscriptions";
    const LIMIT: Duration = Duration::from_secs(1800);

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        let rows = store::ended(&app.db, app.clock.now(), self.after, BATCH).await?;
        let mut counts = Counts::default();
        for row in &rows {
            counts.note(service::sweep(&app, row).await.map(|difference| u64::from(difference.is_some())))?;
        }
        go_on(&app, "sweep_subscriptions", &rows, |after| Self { after }).await?;
        Ok(counts.result())
    }
}

/// Compares all subscriptions that have not ended with their vendors.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReconcileSubscriptions {
    /// The last subscription of the run before.
    #[serde(default)]
    pub after: Option<SubscriptionId>,
}

impl Job<App> for ReconcileSubscriptions {
    const NAME: &'static str = "reconcile_subscriptions";
    const LIMIT: Duration = Duration::from_secs(1800);

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        let rows = store::running(&app.db, self.after, BATCH).await?;
        let mut counts = Counts::default();
        for row in &rows {
            counts.note(service::compare(&app, row).await.map(|difference| u64::from(difference.is_some())))?;
        }
        go_on(&app, "reconcile_subscriptions", &rows, |after| Self { after }).await?;
        Ok(counts.result())
    }
}

/// Compares the customers whose plan is not running with Stripe: the event of a new subscription may be lost.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReconcileCustomers {
    /// The last user of the run before.
    #[serde(default)]
    pub after: Option<UserId>,
}

impl Job<App> for ReconcileCustomers {
    const NAME: &'static str = "reconcile_customers";
    const LIMIT: Duration = Duration::from_secs(1800);

    async fn run(self, app: App, _: Run) -> Result<Value, Fail> {
        let users = vendors::lapsed_customers(&app, self.after.as_ref(), BATCH).await?;
        let mut counts = Counts::default();
        for user in &users {
            counts.note(service::sync(&app, user).await.map(|differences| differences.len() as u64))?;
        }
        if let Some(last) = users.last().filter(|_| is_full(users.len())) {
            let next = Self { after: Some(last.clone()) };
            app.jobs.enqueue(&app.db, &next, next_after("reconcile_customers", last.as_str())).await?;
        }
        Ok(counts.result())
    }
}

fn is_full(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows == BATCH)
}

/// Enqueues the next run, if there may be more.
async fn go_on<J: Job<App>>(
    app: &App,
    name: &str,
    rows: &[Subscription],
    next: impl FnOnce(Option<SubscriptionId>) -> J,
) -> Result<(), Fail> {
    if let Some(last) = rows.last().filter(|_| is_full(rows.len())) {
        app.jobs.enqueue(&app.db, &next(Some(last.id)), next_after(name, &last.id.to_string())).await?;
    }
    Ok(())
}

/// A run that is tried again enqueues the next one once.
fn next_after(name: &str, last: &str) -> New {
    New { dedupe_key: Some(format!("{name}:{last}")), ..New::default() }
}

/// What a run found.
#[derive(Default)]
struct Counts {
    compared: u64,
    corrected: u64,
    failed: u64,
    in_a_row: usize,
}

impl Counts {
    /// Counts one comparison. A failing vendor does not stop the others, unless nothing succeeds any more.
    fn note(&mut self, outcome: Result<u64>) -> Result<(), Fail> {
        match outcome {
            Ok(corrected) => {
                self.compared += 1;
                self.corrected += corrected;
                self.in_a_row = 0;
                Ok(())
            }
            Err(error @ Error::Upstream { .. }) => {
                self.failed += 1;
                self.in_a_row += 1;
                tracing::warn!(cause = %error, "a subscription could not be compared with its vendor");
                if self.in_a_row >= GIVE_UP { Err(Fail::RetryAfter(error.to_string(), Duration::from_secs(300))) } else { Ok(()) }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn result(&self) -> Value {
        json!({"compared": self.compared, "corrected": self.corrected, "failed": self.failed})
    }
}
