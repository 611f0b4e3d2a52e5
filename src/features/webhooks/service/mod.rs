//! The rules that all senders share: an event is applied once, in one transaction with its mark; what fails is kept and tried
//! again; a refused delivery leaves no trace.

mod handle;

use http::HeaderMap;

pub use super::masking::masked;
use super::model::{EventDetail, EventId, EventRow, Filters, Received};
use super::sender::{Delivery, Event, Opened, Sender};
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
use crate::platform::text::has_control;
pub use handle::RetryWebhook;
use handle::{Again, again, handle};

/// Longest id and type of an event, in characters.
const NAME: usize = 255;

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

/// The error for a signature that does not fit. Logged by [`log_refusal`].
pub fn bad_signature(app: &App, provider: &'static str, variable: &'static str, why: &'static str) -> Error {
    log_refusal(app, provider, variable, why);
    Error::BadRequest("The signature is missing, wrong or too old".to_owned())
}

/// Logs that a delivery was refused, at most once a minute for each sender, with the variable that may be wrong.
pub fn log_refusal(app: &App, provider: &'static str, variable: &'static str, why: &'static str) {
    if app.state::<State>().may_warn(provider, app.clock.now()) {
        tracing::warn!(provider, variable, why, "webhook refused: if it comes from the provider, {variable} is not its secret");
    }
}

/// Refuses events that could not be stored, and replaces what Postgres cannot store.
fn checked(event: Event) -> Result<Event> {
    let fits = |text: &str| !text.is_empty() && text.chars().count() <= NAME && !has_control(text);
    if !fits(&event.id) || !fits(&event.kind) {
        return Err(Error::BadRequest(format!("The event's id and type must be texts of 1 to {NAME} characters")));
    }
    Ok(Event { payload: json::storable(event.payload), ..event })
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
