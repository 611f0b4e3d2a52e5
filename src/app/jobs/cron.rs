//! Schedules: what is enqueued by the clock, in UTC. One row for each says when it last had its turn, and whoever moves
//! that on enqueues the job in the same transaction: so a slot is used once in a cluster, whatever crashes. The latest
//! slot that was missed while nothing ran is used at the next start; one from before the first start ever is not.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use tokio_util::sync::CancellationToken;

use super::Job;
use super::model::JobId;
use super::queue::{New, Queue};
use crate::app::App;
use crate::platform::db::{Db, Tx, q};
use crate::platform::error::Result;
use crate::sql;

/// Longest sleep between two looks at the clock, which may be set forward.
const LOOK: Duration = Duration::from_secs(30);

type Enqueued<'a> = Pin<Box<dyn Future<Output = Result<Option<JobId>>> + Send + 'a>>;

/// A function that runs by the clock.
struct Schedule {
    name: &'static str,
    cron: Cron,
    enqueue: for<'a> fn(&'a Queue, &'a mut Tx) -> Enqueued<'a>,
}

/// Every schedule of every feature; filled by their `cron` hooks.
#[derive(Default)]
pub struct Schedules {
    all: Vec<Schedule>,
    /// The latest slot known to be used, so that only new ones ask the database.
    used: Mutex<HashMap<&'static str, DateTime<Utc>>>,
}

impl Schedules {
    /// Runs `J` whenever the pattern (minute, hour, day of month, month, day of week) says so. A pattern that is none
    /// panics here, at the start.
    pub fn add<J: Job + Default>(&mut self, pattern: &str) {
        let cron = pattern.parse().unwrap_or_else(|error| panic!("{pattern:?} for {}: {error}", J::NAME));
        self.all.push(Schedule { name: J::NAME, cron, enqueue: enqueue::<J> });
    }

    /// Uses every slot that is due and that nobody has used. Gives the next one, if there will ever be one.
    pub async fn tick(&self, app: &App) -> Result<Option<DateTime<Utc>>> {
        let now = app.clock.now();
        let mut next: Option<DateTime<Utc>> = None;
        for schedule in &self.all {
            if let Ok(slot) = schedule.cron.find_next_occurrence(&now, false) {
                next = Some(next.map_or(slot, |next| next.min(slot)));
            }
            let Ok(slot) = schedule.cron.find_previous_occurrence(&now, true) else { continue };
            let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).get(schedule.name).copied();
            if used.is_none_or(|used| used < slot) {
                schedule.use_slot(app, slot, now).await?;
                self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(schedule.name, slot);
            }
        }
        Ok(next)
    }

    /// Ticks until it is told to stop.
    pub async fn run(&self, app: &App, stop: CancellationToken) {
        loop {
            let wait = match self.tick(app).await {
                Ok(Some(next)) => (next - app.clock.now()).to_std().unwrap_or_default().min(LOOK),
                Ok(None) => LOOK,
                Err(error) => {
                    tracing::warn!(cause = %error, "schedules could not be looked at");
                    LOOK
                }
            };
            // A moment past the slot: a sleep may end a little early.
            if stop.run_until_cancelled(tokio::time::sleep(wait + Duration::from_millis(5))).await.is_none() {
                return;
            }
        }
    }
}

impl Schedule {
    async fn use_slot(&self, app: &App, slot: DateTime<Utc>, now: DateTime<Utc>) -> Result<()> {
        if start_of(&app.db, self.name, now).await? {
            return Ok(());
        }
        let mut tx = app.db.begin().await?;
        if move_on(&mut tx, self.name, slot).await? {
            (self.enqueue)(&app.jobs, &mut tx).await?;
            tx.commit().await?;
            tracing::info!(function = self.name, %slot, "scheduled job enqueued");
        }
        Ok(())
    }
}

fn enqueue<'a, J: Job + Default>(queue: &'a Queue, tx: &'a mut Tx) -> Enqueued<'a> {
    Box::pin(async move {
        // While the last one still waits or runs, another one would only do the same.
        let new = New { dedupe_key: Some(format!("cron:{}", J::NAME)), ..New::default() };
        queue.enqueue(tx, &J::default(), new).await
    })
}

/// Notes the first start ever; says whether this was it.
async fn start_of(db: &Db, name: &str, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let first = q(db, sql!("INSERT INTO cron_schedules (name, last_slot) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"));
    Ok(first.bind(name.to_owned()).bind(now).exec().await? == 1)
}

/// Takes the slot; says whether it was free.
async fn move_on(tx: &mut Tx, name: &str, slot: DateTime<Utc>) -> sqlx::Result<bool> {
    let moved = q(tx, sql!("UPDATE cron_schedules SET last_slot = $2 WHERE name = $1 AND last_slot < $2"));
    Ok(moved.bind(name.to_owned()).bind(slot).exec().await? == 1)
}
