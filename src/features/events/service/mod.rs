//! Rules of event streams: what is stored, how events get their numbers, and from where a stream goes on.

pub mod tickets;

use chrono::TimeDelta;

use super::position::Position;
use super::state::State;
use super::store::{self, Numbered};
use crate::app::App;
use crate::app::feature::Removed;
use crate::app::news::{Change, Notice};
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::id::UserId;

/// The kinds of events.
const UPDATE: &str = "update";
const NOTIFICATION: &str = "notification";
/// Time for which an id can be resumed from.
const RESUMABLE: TimeDelta = TimeDelta::hours(1);
/// Time for which events are kept. Longer than [`RESUMABLE`] by more than a transaction lasts and clocks differ: nothing that
/// follows an accepted id has been removed.
const KEPT: TimeDelta = TimeDelta::minutes(75);
/// Events that are numbered by one transaction.
const BATCH: u16 = 500;
/// Events that are read at once.
const PAGE: i64 = 50;

/// Where a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    At(Position),
    /// The id that was asked for is too old or unknown: the client has to load what it shows, and gets what follows.
    Resync(Position),
}

/// Stores a change, in its transaction.
pub async fn changed(app: &App, tx: &mut Tx, change: &Change) -> Result<()> {
    store(app, tx, &change.owner, UPDATE, &change.content()).await
}

/// Stores a notice, in its transaction.
pub async fn notify(app: &App, tx: &mut Tx, notice: &Notice) -> Result<()> {
    store(app, tx, &notice.user, NOTIFICATION, &notice.content()).await
}

async fn store(app: &App, tx: &mut Tx, user: &UserId, event: &str, data: &serde_json::Value) -> Result<()> {
    store::insert(&mut *tx, user, event, &data.to_string(), app.clock.now()).await?;
    let (state, user) = (app.state::<State>().clone(), user.clone());
    tx.after_commit(move || state.wake(&user));
    Ok(())
}

/// Finds where a stream begins: after the event with the id that the client has seen, or at the present end.
pub async fn begin(app: &App, user: &UserId, seen: Option<&str>) -> Result<Start> {
    let now = app.clock.now();
    if store::last(&app.db, user).await?.is_none() {
        store::start(&app.db, user).await?;
    }
    if store::news(&app.db, user, i64::MAX).await?.unnumbered {
        number(app, user).await?;
    }
    let end = Position::new(store::last(&app.db, user).await?.unwrap_or(0), now);
    let Some(seen) = seen else { return Ok(Start::At(end)) };
    let slack = KEPT - RESUMABLE;
    let resumable = (now - RESUMABLE).timestamp()..=(now + slack).timestamp();
    let known = Position::parse(seen).filter(|seen| seen.seq <= end.seq && resumable.contains(&seen.at));
    Ok(known.map_or(Start::Resync(end), Start::At))
}

/// Returns the user's next events after a number, at most a page.
pub async fn next(app: &App, user: &UserId, seq: i64) -> Result<Vec<Numbered>> {
    let news = store::news(&app.db, user, seq).await?;
    if news.unnumbered {
        number(app, user).await?;
    }
    if !news.unnumbered && !news.numbered {
        return Ok(Vec::new());
    }
    Ok(store::after(&app.db, user, seq, PAGE).await?)
}

/// Numbers every committed event of the user. Numbers follow the order in which events became visible: a transaction that
/// commits late gets later numbers, so that no reader has passed them.
async fn number(app: &App, user: &UserId) -> Result<()> {
    loop {
        let numbered = crate::transaction!(app.db, |tx| {
            let Some(last) = store::lock_last(&app.db, tx, user).await? else { return Ok(0) };
            let numbered = store::number(tx, user, last, BATCH.into()).await?;
            if numbered > 0 {
                store::set_last(tx, user).await?;
            }
            Ok(numbered)
        })?;
        if numbered < BATCH.into() {
            return Ok(());
        }
    }
}

/// Removes a bounded number of events that no stream can resume from.
pub async fn sweep(app: &App) -> Result<Removed> {
    Ok(Removed::records(store::sweep(&app.db, app.clock.now() - KEPT).await?))
}

pub async fn erase(tx: &mut Tx, user: &UserId) -> Result<u64> {
    Ok(store::erase(tx, user).await?)
}
