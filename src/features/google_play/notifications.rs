//! Pushed notifications as a sender of webhooks.

use async_trait::async_trait;
use chrono::TimeDelta;

use super::model::Reading;
use super::state::State;
use super::{kinds, service};
use crate::app::App;
use crate::features::webhooks::{self, Answer, Current, Delivery, Event, Opened, Sender, Step};
use crate::platform::auth::Refusal;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::providers::payments::google::{Malformed, Notification, Notified};

/// A notification that claims to be from later than this after now has no usable time: it would outlast all that follow.
const FUTURE: TimeDelta = TimeDelta::days(1);

pub struct Notifications;

#[async_trait]
impl Sender for Notifications {
    fn provider(&self) -> &'static str {
        "google"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &kinds::NAMES
    }

    async fn open(&self, app: &App, delivery: Delivery<'_>) -> Result<Opened> {
        let state = app.state::<State>();
        let (play, now) = (state.play()?, app.clock.now());
        if let Err(refusal) = state.push.verify(delivery.headers, now).await {
            if let Refusal::Invalid(why) = refusal {
                // For its log line: the answer of a push is a 401.
                webhooks::service::log_refusal(app, self.provider(), "GOOGLE_PUBSUB_AUDIENCE, GOOGLE_PUBSUB_SERVICE_ACCOUNT", why);
            }
            return Err(refusal.into());
        }
        let notification = Notification::parse(delivery.body).map_err(bad_request)?;
        if notification.data["packageName"].as_str() != Some(play.package_name()) {
            return Err(bad_request(Malformed("The notification is about another package")));
        }
        let kind = match Notified::read(&notification.data).map_err(bad_request)? {
            Notified::Test => return Ok(Opened::Answered(Answer::TestAcknowledged)),
            Notified::Other => return Ok(Opened::Answered(Answer::Ignored)),
            Notified::Subscription { kind, .. } => kinds::name(kind),
            Notified::Voided { .. } => kinds::VOIDED.to_owned(),
        };
        let at = notification.occurred_at().filter(|at| *at <= now + FUTURE).unwrap_or(now);
        Ok(Opened::Event(Event { id: notification.message_id, kind, payload: notification.data, occurred_at: Some(at) }))
    }

    /// A notification says that something has changed, not what.
    fn reads_first(&self, _: &App, _: &Event) -> bool {
        true
    }

    /// A purchase that cannot be read does not fail the event: its type counts for now, and a job reads until Google answers.
    async fn read(&self, app: &App, event: &Event) -> Result<Current> {
        let (purchase_token, _) = purchase(event)?;
        match service::ask(app, &purchase_token, event.occurred_at).await {
            Ok(reading) => Ok(reading.map(serde_json::to_value).transpose().map_err(anyhow::Error::new)?),
            Err(error @ Error::Upstream { .. }) => {
                service::log_failure(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn apply(&self, app: &App, tx: &mut Tx, event: &Event, read: Option<&Current>) -> Result<Step> {
        let (purchase_token, told) = purchase(event)?;
        if let Some(reading) = read.cloned().flatten() {
            let reading: Reading = serde_json::from_value(reading).map_err(anyhow::Error::new)?;
            service::apply_reading(app, tx, &purchase_token, &reading).await?;
            return Ok(Step::Done);
        }
        service::apply_kind(app, tx, event, &purchase_token, told).await?;
        Ok(Step::Done)
    }
}

/// The purchase that an event is about, and what its type says.
fn purchase(event: &Event) -> Result<(String, service::Told)> {
    match Notified::read(&event.payload) {
        Ok(Notified::Subscription { kind, purchase_token, product }) => {
            Ok((purchase_token, service::Told { effect: kinds::find(kind).and_then(|kind| kind.effect), product }))
        }
        Ok(Notified::Voided { purchase_token }) => Ok((purchase_token, service::Told { effect: None, product: None })),
        Ok(Notified::Test | Notified::Other) | Err(_) => {
            Err(Error::Internal(anyhow::anyhow!("the stored notification is about no subscription")))
        }
    }
}

fn bad_request(Malformed(why): Malformed) -> Error {
    Error::BadRequest(why.to_owned())
}
