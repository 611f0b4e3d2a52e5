//! The rules that all senders share: an event is applied once, in one transaction with its mark; what fails is kept and tried
//! again; a refused delivery leaves no trace.

use std::time::Instant;

use chrono::TimeDelta;
use http::HeaderMap;

use super::jobs::RetryWebhook;
use super::masking::masked;
use super::model::{EventDetail, EventId, EventRow, EventStatus, Filters, Received};
use super::sender::{Answer, Delivery, Event, Opened, Sender, Step};
use super::state::{Senders, State};
use super::store::{self, Stored};
use crate::app::App;
use crate::app::feature::Setup;
use crate::app::jobs::New;
use crate::features::users;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::http::list::List;
use crate::platform::http::{Json, RawBody};
use crate::platform::id::{PathId, UserId};
use crate::platform::json;
use crate::platform::text::{cut, has_control};

/// Longest id and type of an event, in characters.
const NAME: usize = 255;
/// Longest error text that is kept, in characters.
const REASON: usize = 2000;
/// How often an event may ask for the sender's current object.
const READS: usize = 3;
/// Time until a failed event is tried again.
const RETRY: TimeDelta = TimeDelta::minutes(1);

/// Adds a sender; called in its feature's `setup`.
pub fn add(setup: &mut Setup<'_>, sender: &'static dyn Sender) {
    let senders = setup.kept::<Senders>().unwrap_or_default().with(sender);
    setup.keep(senders);
}

/// Handles a delivery: the whole body of a sender's route.
pub async fn receive(app: &App, sender: &'static dyn Sender, headers: &HeaderMap, RawBody(body): RawBody) -> Result<Json<Received>> {
    let event = match sender.open(app, Delivery { headers, body: &body }).await? {
        Opened::Event(event) => checked(event)?,
        Opened::Answered(status) => return Ok(Json(Received { status })),
    };
    Ok(Json(Received { status: handle(app, sender, &event).await? }))
}

/// The error for a signature that does not fit. Logged, at most once a minute for each sender, with the variable that may be
/// wrong.
pub fn bad_signature(app: &App, provider: &'static str, variable: &'static str, why: &'static str) -> Error {
    if app.state::<State>().may_warn(provider, app.clock.now()) {
        tracing::warn!(provider, variable, why, "webhook refused: if it comes from the provider, {variable} is not its secret");
    }
    Error::BadRequest("The signature is missing, wrong or too old".to_owned())
}

/// Refuses events that could not be stored, and removes what Postgres cannot store.
fn checked(event: Event) -> Result<Event> {
    let fits = |text: &str| !text.is_empty() && text.chars().count() <= NAME && !has_control(text);
    if !fits(&event.id) || !fits(&event.kind) {
        return Err(Error::BadRequest(format!("The event's id and type must be texts of 1 to {NAME} characters")));
    }
    Ok(Event { payload: json::storable(event.payload), ..event })
}

/// Applies an event, from a delivery or from its row. Counted, timed and logged.
pub(super) async fn handle(app: &App, sender: &'static dyn Sender, event: &Event) -> Result<Answer> {
    let (state, provider, started) = (app.state::<State>(), sender.provider(), Instant::now());
    let outcome = match attempt(app, sender, event).await {
        // The database is away, so nothing can be kept either: the sender repeats the delivery.
        Err(error @ (Error::Contended | Error::Unavailable { .. } | Error::Conflict { .. })) => Err(error),
        Err(error) => Err(keep_failed(app, sender, event, error).await),
        done => done,
    };
    let kind = sender.kinds().iter().copied().find(|kind| *kind == event.kind).unwrap_or("other");
    let status = match outcome {
        Ok(Answer::AlreadyProcessed) => "duplicate",
        Ok(_) => "processed",
        Err(_) => "failed",
    };
    state.events.with_label_values(&[provider, kind, status]).inc();
    state.durations.with_label_values(&[provider]).observe(started.elapsed().as_secs_f64());
    tracing::info!(provider, event_type = event.kind, event_id = event.id, status, "webhook handled");
    outcome
}

/// Why a transaction is undone although nothing failed.
enum Undone {
    No,
    /// The sender's current object is needed.
    Read,
}

async fn attempt(app: &App, sender: &'static dyn Sender, event: &Event) -> Result<Answer> {
    let provider = sender.provider();
    let mut read = None;
    if sender.reads_first(app, event) {
        // The sender is not asked again for an event that is done.
        if store::status(&app.db, provider, &event.id).await? == Some(EventStatus::Processed) {
            return Ok(Answer::AlreadyProcessed);
        }
        read = Some(sender.read(app, event).await?);
    }
    for _ in 0..READS {
        let mut undone = Undone::No;
        let outcome = crate::transaction!(app.db, |tx| {
            undone = Undone::No;
            if !store::claim(&mut *tx, provider, event, app.clock.now()).await? {
                return Ok(None);
            }
            match sender.apply(app, tx, event, read.as_ref()).await? {
                Step::Done => Ok(Some(Answer::Processed)),
                Step::Read => {
                    undone = Undone::Read;
                    Err(Error::Internal(anyhow::anyhow!("the sender's current object is needed")))
                }
            }
        });
        match (undone, outcome) {
            (Undone::Read, _) => read = Some(sender.read(app, event).await?),
            (Undone::No, Ok(Some(answer))) => return Ok(answer),
            (Undone::No, Ok(None)) => return taken(app, provider, event).await,
            (Undone::No, Err(error)) => return Err(error),
        }
    }
    Err(Error::Internal(anyhow::anyhow!("the event changed with each reading")))
}

/// The answer for an event that could not be claimed.
async fn taken(app: &App, provider: &str, event: &Event) -> Result<Answer> {
    match store::status(&app.db, provider, &event.id).await? {
        Some(EventStatus::Processed) => Ok(Answer::AlreadyProcessed),
        _ => Err(Error::Conflict { message: "The event is being handled", resource: "Webhook event" }),
    }
}

/// Keeps a failed event and enqueues its next attempt; returns the error for the sender, which is always a 500.
async fn keep_failed(app: &App, sender: &'static dyn Sender, event: &Event, error: Error) -> Error {
    let reason = match &error {
        Error::Internal(cause) => format!("{cause:#}"),
        Error::Upstream { message, cause, .. } => format!("{message}: {cause}"),
        other => other.to_string(),
    };
    let reason = cut(&reason.replace('\0', ""), REASON).to_owned();
    let kept = crate::transaction!(app.db, |tx| {
        if let Some(id) = store::fail(&mut *tx, sender.provider(), event, &reason, app.clock.now()).await? {
            let new = New { dedupe_key: Some(format!("webhook:{id}")), delay: RETRY, ..New::default() };
            app.jobs.enqueue(tx, &RetryWebhook { event_id: id }, new).await?;
        }
        Ok(())
    });
    if let Err(error) = kept {
        tracing::error!(provider = sender.provider(), event_id = event.id, cause = %error, "a failed webhook could not be kept");
    }
    tracing::error!(provider = sender.provider(), event_type = event.kind, event_id = event.id, cause = reason, "webhook failed");
    Error::Internal(anyhow::anyhow!("webhook failed"))
}

/// The administrators' list.
pub fn list(filters: Filters) -> List<EventRow> {
    store::list(filters)
}

pub async fn get(app: &App, id: EventId) -> Result<EventDetail> {
    let Stored { row, payload, occurred_at } = store::by_id(&app.db, id).await?.ok_or_else(|| id.not_found())?;
    Ok(EventDetail { event: row, occurred_at, payload: masked(payload.0) })
}

/// Handles a stored event again; 400 if it is processed already.
pub async fn replay(app: &App, id: EventId) -> Result<EventRow> {
    match again(app, id).await? {
        Again::Handled => {}
        Again::Processed => return Err(Error::BadRequest("The event is processed already".to_owned())),
        Again::NoSender => return Err(Error::BadRequest("No sender of this name is installed".to_owned())),
        Again::Failed(error) => {
            tracing::warn!(%id, cause = %error, "a replayed webhook failed again");
        }
    }
    Ok(store::by_id(&app.db, id).await?.ok_or_else(|| id.not_found())?.row)
}

/// The outcome of handling a stored event.
pub(super) enum Again {
    Handled,
    Processed,
    NoSender,
    Failed(Error),
}

pub(super) async fn again(app: &App, id: EventId) -> Result<Again> {
    let Stored { row, payload, occurred_at } = store::by_id(&app.db, id).await?.ok_or_else(|| id.not_found())?;
    if row.status == EventStatus::Processed {
        return Ok(Again::Processed);
    }
    let Some(sender) = app.state::<Senders>().find(&row.provider) else { return Ok(Again::NoSender) };
    let event = Event { id: row.idempotency_key, kind: row.event_type, payload: payload.0, occurred_at };
    Ok(match handle(app, sender, &event).await {
        Ok(Answer::AlreadyProcessed) => Again::Processed,
        Ok(_) => Again::Handled,
        Err(error) => Again::Failed(error),
    })
}

/// Enqueues an attempt for each event that lost its process.
pub(super) async fn rescue_stale(app: &App) -> Result<u64> {
    let mut enqueued = 0;
    for id in store::stale(&app.db, app.clock.now(), 1000).await? {
        let new = New { dedupe_key: Some(format!("webhook:{id}")), ..New::default() };
        enqueued += u64::from(app.jobs.enqueue(&app.db, &RetryWebhook { event_id: id }, new).await?.is_some());
    }
    Ok(enqueued)
}

/// Removes the events that name the user, by any of their ids or their address.
pub(super) async fn erase(tx: &mut Tx, user: &UserId) -> Result<u64> {
    let Some(vendors) = users::service::vendors::of(&mut *tx, user).await? else { return Ok(0) };
    let ids = [vendors.stripe_customer_id, vendors.apple_original_transaction_id, vendors.google_purchase_token];
    let mut rows = 0;
    for value in ids.into_iter().flatten().chain([user.as_str().to_owned(), vendors.email]) {
        rows += store::erase(&mut *tx, &value).await?;
    }
    Ok(rows)
}
