//! Stores what is counted. A batch is stored with its id in one transaction, and stored again with the same id until the database
//! answers: so nothing is counted twice, whatever becomes of an answer.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::warnings;
use crate::app::App;
use crate::features::usage::counters::Batch;
use crate::features::usage::state::State;
use crate::features::usage::store::flush::{self as store, Sum};
use crate::platform::db::is_temporary;

/// How often events are taken over from those who record them.
const COUNT: Duration = Duration::from_millis(100);
/// How often counts are stored. They are seen on every instance within two seconds.
const STORE: Duration = Duration::from_secs(1);
/// Attempts to store what is left at the end of the process.
const LAST_TRIES: u32 = 5;

/// Counts and stores until `stop`, then stores what is left.
pub async fn run(app: &App, stop: CancellationToken) {
    let counting = async {
        let mut ticks = interval(COUNT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            app.state::<State>().count();
        }
    };
    let storing = async {
        let mut fails = false;
        loop {
            sleep(STORE).await;
            let outcome = flush(app).await;
            match &outcome {
                Ok(()) if fails => tracing::info!("usage is stored again"),
                Err(error) if !fails => tracing::warn!(%error, "usage cannot be stored; it is kept in memory until it can be"),
                _ => {}
            }
            fails = outcome.is_err();
        }
    };
    stop.run_until_cancelled(async { tokio::join!(counting, storing) }).await;
    for tries in 1..=LAST_TRIES {
        match flush(app).await {
            Ok(()) => return,
            Err(error) => tracing::error!(%error, tries, "usage could not be stored before the end of the process"),
        }
        sleep(STORE).await;
    }
}

/// Stores everything that was recorded until now. A batch leaves the queue only when it is stored: this may be dropped midway.
pub async fn flush(app: &App) -> sqlx::Result<()> {
    let state = app.state::<State>();
    let mut unstored = state.unstored().await;
    state.count();
    loop {
        let Some(batch) = unstored.front() else {
            let Some(batch) = state.take() else { return Ok(()) };
            unstored.push_back(batch);
            continue;
        };
        match store_once(app, batch).await {
            Ok(sums) => {
                unstored.pop_front();
                warnings::warn(app, &sums).await;
            }
            Err(error) if is_refusal(&error) => set_first_apart(&mut unstored, state, &error),
            // Perhaps it is stored all the same; its id tells the next attempt.
            Err(error) => return Err(error),
        }
    }
}

/// Stores a batch; returns the new quantities, or nothing if it was stored before.
async fn store_once(app: &App, batch: &Batch) -> sqlx::Result<Vec<Sum>> {
    let (mut tx, now) = (app.db.begin().await?, app.clock.now());
    if !store::claim(&mut tx, batch, now).await? {
        return Ok(Vec::new());
    }
    let sums = store::add(&mut tx, &batch.additions, now).await?;
    tx.commit().await?;
    Ok(sums)
}

/// Whether the same statement would be refused again, which is then certain not to be stored.
fn is_refusal(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_)) && !is_temporary(error)
}

/// The database refuses an addition of the first batch: finds it by halves, and gives it up.
fn set_first_apart(unstored: &mut VecDeque<Batch>, state: &State, error: &sqlx::Error) {
    let Some(batch) = unstored.pop_front() else { return };
    let additions = batch.additions.len();
    if let Some((one, other)) = batch.halves() {
        unstored.extend([one, other]);
    } else {
        tracing::error!(%error, "the database refuses a count of usage; it is lost");
        state.dropped(additions);
    }
}
