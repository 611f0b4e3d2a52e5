//! Handling of one event: claimed and applied in one transaction; kept and tried again if it fails.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::app::jobs::{Fail, Job, New, Run};
use crate::features::webhooks::model::{EventId, EventStatus};
use crate::features::webhooks::sender::{Answer, Event, Sender, Step};
use crate::features::webhooks::state::{Senders, State};
use crate::features::webhooks::store::{self, Stored};
use crate::platform::error::{Error, Result};
use crate::platform::id::PathId;
use crate::platform::text::cut;

/// Longest error text that is kept, in characters.
const REASON: usize = 2000;
/// How often an event may ask for the sender's current object.
const READS: usize = 3;
/// Time until a failed event is tried again.
const RETRY: TimeDelta = TimeDelta::minutes(1);

/// Applies an event, from a delivery or from its row. Counted, timed and logged.
pub async fn handle(app: &App, sender: &'static dyn Sender, event: &Event) -> Result<Answer> {
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
        // Set where the transaction is undone although nothing failed.
        let mut needs_read = false;
        let outcome = crate::transaction!(app.db, |tx| {
            needs_read = false;
            if !store::claim(&mut *tx, provider, event, app.clock.now()).await? {
                return Ok(None);
            }
            match sender.apply(app, tx, event, read.as_ref()).await? {
                Step::Done => Ok(Some(Answer::Processed)),
                Step::Read => {
                    needs_read = true;
                    Err(Error::Internal(anyhow::anyhow!("the sender's current object is needed")))
                }
            }
        });
        match outcome {
            Err(_) if needs_read => read = Some(sender.read(app, event).await?),
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => return taken(app, provider, event).await,
            Err(error) => return Err(error),
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

/// The outcome of handling a stored event.
pub enum Again {
    Handled,
    Processed,
    NoSender,
    Failed(Error),
}

pub async fn again(app: &App, id: EventId) -> Result<Again> {
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

/// Handles one event again, a minute after it failed; further attempts follow after 2, 4, 8 and 16 minutes.
#[derive(Debug, Serialize, Deserialize)]
pub struct RetryWebhook {
    pub event_id: EventId,
}

impl Job<App> for RetryWebhook {
    const NAME: &'static str = "retry_webhook";
    const MAX_ATTEMPTS: i32 = 5;

    async fn run(self, app: App, run: Run) -> Result<Value, Fail> {
        let pause = Duration::from_secs(60 << run.attempt.clamp(1, 5).unsigned_abs());
        match again(&app, self.event_id).await {
            Ok(Again::Handled) => Ok(json!({"status": "processed"})),
            Ok(Again::Processed) => Ok(json!({"status": "already_processed"})),
            Ok(Again::NoSender) => Err(Fail::Dead("no sender of this name is installed".to_owned())),
            Ok(Again::Failed(error)) => Err(Fail::RetryAfter(error.to_string(), pause)),
            Err(error) => Err(error.into()),
        }
    }
}
