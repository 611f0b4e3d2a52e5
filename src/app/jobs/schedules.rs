//! Schedules: jobs enqueued by cron patterns, in UTC, or at intervals. One row per schedule holds its last used slot. The
//! instance that advances it enqueues the job in the same transaction, so each slot is used once per cluster, even after a
//! crash. At the next start only the latest missed slot is used; slots before the very first start are not. A stored slot in the
//! future is not believed.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use croner::Cron;
use tokio_util::sync::CancellationToken;

use super::job::Job;
use super::model::{JobId, New};
use super::queue::Queue;
use crate::platform::db::{Db, Tx, query};
use crate::platform::error::Result;
use crate::sql;

/// Longest sleep between clock checks, because the clock may be set forward.
const LOOK: Duration = Duration::from_secs(30);

type Enqueued<'a> = Pin<Box<dyn Future<Output = Result<Option<JobId>>> + Send + 'a>>;

/// A function with its schedule.
struct Schedule {
    name: &'static str,
    rhythm: Rhythm,
    enqueue: for<'a> fn(&'a Queue, &'a mut Tx) -> Enqueued<'a>,
}

/// When the slots of a schedule are.
enum Rhythm {
    Cron(Box<Cron>),
    /// Counted from 1970.
    Every(TimeDelta),
}

impl Rhythm {
    /// The first slot after `now`, and the last one until then. `None` if there is none.
    fn around(&self, now: DateTime<Utc>) -> Option<Slots> {
        match self {
            Self::Cron(cron) => Some(Slots {
                following: cron.find_next_occurrence(&now, false).ok()?,
                slot: cron.find_previous_occurrence(&now, true).ok()?,
                now,
            }),
            Self::Every(interval) => {
                let slot = now.duration_trunc(*interval).ok()?;
                Some(Slots { slot, following: slot + *interval, now })
            }
        }
    }
}

/// Every schedule of every feature; filled by their `schedules` hooks.
pub struct Schedules<A> {
    all: Vec<Schedule>,
    /// Latest slot known to be used; only later slots query the database.
    used: Mutex<HashMap<&'static str, DateTime<Utc>>>,
    app: PhantomData<fn(A)>,
}

impl<A> Default for Schedules<A> {
    fn default() -> Self {
        Self { all: Vec::new(), used: Mutex::default(), app: PhantomData }
    }
}

impl<A: 'static> Schedules<A> {
    /// Runs `J` whenever the pattern (minute, hour, day of month, month, day of week) says so. An invalid pattern
    /// panics here, at the start.
    pub fn add<J: Job<A> + Default>(&mut self, pattern: &str) {
        let cron = pattern.parse().unwrap_or_else(|error| panic!("{pattern:?} for {}: {error}", J::NAME));
        self.all.push(Schedule { name: J::NAME, rhythm: Rhythm::Cron(Box::new(cron)), enqueue: enqueue::<A, J> });
    }

    /// Runs `J` once in each interval, which has at least a second.
    pub fn add_every<J: Job<A> + Default>(&mut self, interval: Duration) {
        let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::days(1)).max(TimeDelta::seconds(1));
        self.all.push(Schedule { name: J::NAME, rhythm: Rhythm::Every(interval), enqueue: enqueue::<A, J> });
    }

    /// Uses every due slot that is not used yet. Returns the next slot, if there is one.
    pub async fn tick(&self, db: &Db, queue: &Queue) -> Result<Option<DateTime<Utc>>> {
        let now = queue.clock().now();
        let mut next: Option<DateTime<Utc>> = None;
        for schedule in &self.all {
            let Some(slots @ Slots { slot, following, .. }) = schedule.rhythm.around(now) else { continue };
            next = Some(next.map_or(following, |next| next.min(following)));
            let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).get(schedule.name).copied();
            if used.is_none_or(|used| used < slot || used > following) {
                schedule.use_slot(db, queue, slots).await?;
                self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(schedule.name, slot);
            }
        }
        Ok(next)
    }

    /// Ticks until `stop` is cancelled.
    pub async fn run(&self, db: &Db, queue: &Queue, stop: CancellationToken) {
        loop {
            let wait = match self.tick(db, queue).await {
                Ok(Some(next)) => (next - queue.clock().now()).to_std().unwrap_or_default().min(LOOK),
                Ok(None) => LOOK,
                Err(error) => {
                    tracing::warn!(cause = %error, "schedules could not be looked at");
                    LOOK
                }
            };
            // Slightly past the slot, because a sleep may end early.
            if stop.run_until_cancelled(tokio::time::sleep(wait + Duration::from_millis(5))).await.is_none() {
                return;
            }
        }
    }
}

/// The slots around the present.
#[derive(Clone, Copy)]
struct Slots {
    /// The latest slot, which is due.
    slot: DateTime<Utc>,
    following: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// How a slot was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It was used already.
    No,
    Yes,
    /// The stored slot lay in the future, because a clock was wrong once.
    Corrected,
}

impl Schedule {
    async fn use_slot(&self, db: &Db, queue: &Queue, slots: Slots) -> Result<()> {
        if is_first_start(db, self.name, slots.now).await? {
            return Ok(());
        }
        let taken = crate::transaction!(db, |tx| {
            let taken = take_slot(tx, self.name, slots).await?;
            if taken != Taken::No {
                (self.enqueue)(queue, tx).await?;
            }
            Ok(taken)
        })?;
        if taken == Taken::Corrected {
            tracing::warn!(
                function = self.name,
                "the last slot of this schedule was stored in the future: a clock was wrong. The schedule goes on from now"
            );
        }
        if taken != Taken::No {
            tracing::info!(function = self.name, slot = %slots.slot, "scheduled job enqueued");
        }
        Ok(())
    }
}

fn enqueue<'a, A, J: Job<A> + Default>(queue: &'a Queue, tx: &'a mut Tx) -> Enqueued<'a> {
    Box::pin(async move {
        // While the last one still waits or runs, another one would only do the same.
        let new = New { dedupe_key: Some(format!("cron:{}", J::NAME)), ..New::default() };
        queue.enqueue(tx, &J::default(), new).await
    })
}

/// Records the very first start; returns whether this was it.
async fn is_first_start(db: &Db, name: &str, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let first = query(db, sql!("INSERT INTO cron_schedules (name, last_slot) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"));
    Ok(first.bind(name).bind(now).execute().await? == 1)
}

/// Takes the slot if it was not used, or if what is stored lies beyond the following slot, which no clock that is right can have
/// stored. An instance whose clock is a little ahead may have used the following one.
async fn take_slot(tx: &mut Tx, name: &str, slots: Slots) -> sqlx::Result<Taken> {
    let moved = query(&mut *tx, sql!("UPDATE cron_schedules SET last_slot = $2 WHERE name = $1 AND last_slot < $2"));
    if moved.bind(name).bind(slots.slot).execute().await? == 1 {
        return Ok(Taken::Yes);
    }
    let corrected = query(tx, sql!("UPDATE cron_schedules SET last_slot = $2 WHERE name = $1 AND last_slot > $3"));
    let corrected = corrected.bind(name).bind(slots.slot).bind(slots.following).execute().await?;
    Ok(if corrected == 1 { Taken::Corrected } else { Taken::No })
}
