//! Sends the reports that are due. A report is recorded as sent before it is sent, and ends with an answer only.

use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::doubt::{self, Meters};
use super::model::{REMEMBERED, Report};
use super::state::{Outcome, State};
use super::store::{self, End};
use crate::app::App;
use crate::platform::error::Result;
use crate::providers::payments::stripe::{MeterEvent, Stripe, StripeError};

/// Reports that are read together.
const BATCH: i64 = 50;
/// Failures in a row after which a round ends: Stripe is away.
const GIVE_UP: u32 = 5;

pub struct Round<'a> {
    app: &'a App,
    stripe: &'a Stripe,
    meters: Meters,
    delivered: u64,
    refused: u64,
    failed: u64,
    expired: u64,
    in_a_row: u32,
}

/// Whether a round goes on after a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    End,
}

impl<'a> Round<'a> {
    pub fn new(app: &'a App, stripe: &'a Stripe) -> Self {
        Self { app, stripe, meters: Meters::default(), delivered: 0, refused: 0, failed: 0, expired: 0, in_a_row: 0 }
    }

    /// Sends what is due. Returns whether there is more, because the time ran out.
    pub async fn run(&mut self, until: Instant) -> Result<bool> {
        loop {
            let due = store::due(&self.app.db, self.app.clock.now(), BATCH).await?;
            if due.is_empty() {
                return Ok(false);
            }
            for report in &due {
                if Instant::now() >= until {
                    return Ok(true);
                }
                if self.report(report).await? == Flow::End {
                    return Ok(false);
                }
            }
        }
    }

    pub fn result(&self) -> Value {
        json!({"delivered": self.delivered, "refused": self.refused, "failed": self.failed, "expired": self.expired})
    }

    async fn report(&mut self, report: &Report) -> Result<Flow> {
        let (app, now) = (self.app, self.app.clock.now());
        if report.is_expired(now) {
            return self.expire(report, now).await;
        }
        if !store::take(&app.db, report.id, now, report.next_attempt(now)).await? {
            return Ok(Flow::Next);
        }
        let mut doubt_since = report.first_sent_at;
        if doubt_since.is_some_and(|since| since <= now - REMEMBERED) {
            match doubt::is_counted(app, self.stripe, &mut self.meters, report).await? {
                Ok(true) => return self.deliver(report, Outcome::Confirmed).await,
                // None of the earlier attempts was counted.
                Ok(false) => doubt_since = None,
                Err(error) => return self.fail(report, doubt_since, &error).await,
            }
        }
        let first_sent_at = doubt_since.unwrap_or(now);
        if !store::note_sent(&app.db, report.id, first_sent_at, now).await? {
            return Ok(Flow::Next);
        }
        match self.send(report).await {
            Ok(()) => self.deliver(report, Outcome::Delivered).await,
            Err(error) if error.is_duplicate() => self.deliver(report, Outcome::Duplicate).await,
            Err(error) if error.is_key_refused() => {
                store::note_failure(&app.db, report.id, doubt_since, &error.cause, now).await?;
                app.state::<State>().count(Outcome::Failed);
                self.failed += 1;
                tracing::error!(cause = %error, "Stripe takes no usage: STRIPE_SECRET_KEY is refused, or may not write meter events");
                Ok(Flow::End)
            }
            Err(error) if error.is_refusal() && doubt_since.is_none() => self.refuse(report, &error).await,
            // The refusal does not tell whether an earlier attempt was counted. A day after it, the meter's sum tells.
            Err(error) if error.is_refusal() => {
                self.in_a_row = 0;
                self.note(report, doubt_since, &error).await
            }
            // Too many requests at once: this one was not looked at.
            Err(error) if error.status == Some(StatusCode::TOO_MANY_REQUESTS) => self.fail(report, doubt_since, &error).await,
            Err(error) => self.fail(report, Some(first_sent_at), &error).await,
        }
    }

    async fn send(&self, report: &Report) -> std::result::Result<(), StripeError> {
        let event = MeterEvent {
            event_name: &report.event_name,
            customer: &report.stripe_customer_id,
            value: report.value,
            at: report.reported_at,
            identifier: &report.identifier,
        };
        let key = format!("{}-{}", report.identifier, report.attempts + 1);
        self.stripe.operation().report_usage(&event, &key).await
    }

    /// Ends a report that was counted. Its mark and that of the counted day are one change.
    async fn deliver(&mut self, report: &Report, outcome: Outcome) -> Result<Flow> {
        let (app, now) = (self.app, self.app.clock.now());
        let ended = crate::transaction!(app.db, |tx| {
            let ended = store::end(&mut *tx, report.id, End::Delivered, None, now).await?;
            if ended {
                store::mark_record(tx, report, now).await?;
            }
            Ok(ended)
        })?;
        if ended {
            let state = app.state::<State>();
            state.count(outcome);
            state.count_units(&report.metric, report.value);
            self.delivered += 1;
        }
        self.in_a_row = 0;
        Ok(Flow::Next)
    }

    async fn refuse(&mut self, report: &Report, error: &StripeError) -> Result<Flow> {
        if store::end(&self.app.db, report.id, End::Refused, Some(&error.cause), self.app.clock.now()).await? {
            self.app.state::<State>().count(Outcome::Refused);
            self.refused += 1;
            let (metric, value) = (&report.metric, report.value);
            tracing::warn!(user_id = %report.user_id, metric, value, cause = %error, "Stripe refused a report of usage");
        }
        self.in_a_row = 0;
        Ok(Flow::Next)
    }

    async fn expire(&mut self, report: &Report, now: DateTime<Utc>) -> Result<Flow> {
        if store::end(&self.app.db, report.id, End::Expired, None, now).await? {
            self.app.state::<State>().count(Outcome::Expired);
            self.expired += 1;
            let (metric, value) = (&report.metric, report.value);
            tracing::error!(user_id = %report.user_id, metric, value, "usage was not reported to Stripe within 35 days: it may not be billed");
        }
        Ok(Flow::Next)
    }

    /// Leaves a report for a later round.
    async fn fail(&mut self, report: &Report, doubt_since: Option<DateTime<Utc>>, error: &StripeError) -> Result<Flow> {
        self.note(report, doubt_since, error).await?;
        self.in_a_row += 1;
        if self.in_a_row < GIVE_UP {
            return Ok(Flow::Next);
        }
        tracing::warn!(cause = %error, "reports of usage fail one after the other: the next round tries again");
        Ok(Flow::End)
    }

    async fn note(&mut self, report: &Report, doubt_since: Option<DateTime<Utc>>, error: &StripeError) -> Result<Flow> {
        store::note_failure(&self.app.db, report.id, doubt_since, &error.cause, self.app.clock.now()).await?;
        self.app.state::<State>().count(Outcome::Failed);
        self.failed += 1;
        tracing::warn!(identifier = report.identifier, cause = %error, "a report of usage was not answered: it is tried again");
        Ok(Flow::Next)
    }
}
