//! What a sender of webhooks implements: how a delivery is verified, and what its event changes. The rules that all senders share
//! are in `service`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::platform::db::Tx;
use crate::platform::error::Result;

/// A verified event. When it is tried again it is rebuilt from its row, so it must hold everything that [`Sender::apply`] needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The sender's id of the event, by which a repetition is recognized.
    pub id: String,
    /// The sender's own name of the type.
    pub kind: String,
    /// What is stored, without signatures.
    pub payload: Value,
    /// The sender's own time of the event.
    pub occurred_at: Option<DateTime<Utc>>,
}

/// A delivery as it came: the exact bytes, because signatures are about them.
#[derive(Clone, Copy)]
pub struct Delivery<'d> {
    pub headers: &'d HeaderMap,
    pub body: &'d [u8],
}

/// A delivery after its verification.
pub enum Opened {
    Event(Event),
    /// Nothing to handle: the answer is given, and nothing is recorded.
    Answered(Answer),
}

/// What the sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WebhookAnswer)]
pub enum Answer {
    /// Handled now, or of a type that changes nothing.
    Processed,
    /// Handled before.
    AlreadyProcessed,
    /// Not about anything that is handled.
    Ignored,
    TestAcknowledged,
}

/// How far [`Sender::apply`] got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Done,
    /// The event does not decide, and the sender's current object does: the transaction is undone, [`Sender::read`] is called,
    /// then `apply` again.
    Read,
}

/// The sender's current object; `None` if the sender cannot be asked.
pub type Current = Option<Value>;

/// One sender of webhooks.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Its name in the path, in the table and in metrics.
    fn provider(&self) -> &'static str;

    /// The types that are told apart in metrics. All others are counted as `other`.
    fn kinds(&self) -> &'static [&'static str];

    /// Verifies a delivery and reads its event. Fails with 503 if the sender is not configured, with 400 or 401 if the delivery is
    /// refused. May use the network for the sender's keys only.
    async fn open(&self, app: &App, delivery: Delivery<'_>) -> Result<Opened>;

    /// Whether the event always needs the sender's current object, so that `read` comes before the first `apply`.
    fn reads_first(&self, _app: &App, _event: &Event) -> bool {
        false
    }

    /// Reads the sender's current object of the event. Runs outside of transactions. A failure fails the event, which is tried
    /// again.
    async fn read(&self, _app: &App, _event: &Event) -> Result<Current> {
        Ok(None)
    }

    /// Applies the event in the transaction that marks it as processed. No network access. `read` is the result of
    /// [`Sender::read`], if it was called.
    async fn apply(&self, app: &App, tx: &mut Tx, event: &Event, read: Option<&Current>) -> Result<Step>;
}
