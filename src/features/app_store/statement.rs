//! What Apple says about a subscription: in a notice, in a transaction that an app reports, or when asked. Statements come in any
//! order, so each is compared with the last one that counted, which is kept in the subscription's row.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::kinds::{self, Effect};
use super::transaction::{Transaction, time};
use crate::features::subscriptions::model::{CancelAt, Plan, Snapshot, Status, Subscription, Vendor};

#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub transaction: Transaction,
    status: Status,
    /// End of the time that the status grants.
    end: Option<DateTime<Utc>>,
    /// When Apple signed it.
    pub at: DateTime<Utc>,
    pub rank: i16,
    raw: Value,
}

/// The place of a statement among those about the same subscription.
struct Place {
    transaction: Transaction,
    at: DateTime<Utc>,
    rank: i16,
}

/// How a statement relates to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It counts.
    Newer,
    /// It was signed at the same time as the one that is stored, and about the same period.
    Tied,
    Older,
}

impl Statement {
    /// What a notice says; `None` if it changes nothing. `payload` is the verified notice, its transaction and renewal decoded.
    pub fn of_notice(kind: &str, payload: &Value, at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Self> {
        let (effect, rank) = kinds::effect(kind, payload["subtype"].as_str())?;
        let data = &payload["data"];
        let (transaction, renewal) = (&data["signedTransactionInfo"], &data["signedRenewalInfo"]);
        Self::new(kind, (effect, rank), transaction, renewal, at, now)
    }

    /// What a transaction says that an app reports: it is paid for.
    pub fn of_transaction(payload: &Value, now: DateTime<Utc>) -> Option<Self> {
        let at = time(payload, "signedDate").unwrap_or(now);
        Self::new("transaction", (Effect::Active, kinds::PURCHASED), payload, &Value::Null, at, now)
    }

    /// What Apple answers when it is asked: one of its numbers of states, with the newest transaction and its renewal.
    pub fn of_answer(number: i64, transaction: &Value, renewal: &Value, now: DateTime<Utc>) -> Option<Self> {
        let (effect, status) = match number {
            1 => (Effect::Active, Status::Active),
            2 | 5 => (Effect::Ended, Status::Canceled),
            3 => (Effect::Failed, Status::PastDue),
            4 => (Effect::Grace, Status::Active),
            _ => return None,
        };
        let at = time(transaction, "signedDate").unwrap_or(now);
        let end = end_of(effect, transaction, renewal);
        Self::with("read", status, end, kinds::READ, transaction, renewal, at)
    }

    fn new(
        kind: &str,
        (effect, rank): (Effect, i16),
        transaction: &Value,
        renewal: &Value,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let end = end_of(effect, transaction, renewal);
        let is_over = end.is_some_and(|end| end <= now);
        let retries = renewal["isInBillingRetryPeriod"] == true;
        let effect = match effect {
            // A period that ended before it was told of was followed by another one, or by the end.
            Effect::Active if is_over => return None,
            Effect::Grace if is_over => Effect::Failed,
            effect => effect,
        };
        Self::with(kind, effect.status(retries), end, rank, transaction, renewal, at)
    }

    fn with(
        kind: &str,
        status: Status,
        end: Option<DateTime<Utc>>,
        rank: i16,
        transaction: &Value,
        renewal: &Value,
        at: DateTime<Utc>,
    ) -> Option<Self> {
        let raw = json!({
            "kind": kind, "signedDate": at.timestamp_millis(), "rank": rank, "transaction": transaction, "renewal": renewal
        });
        Some(Self { transaction: Transaction::read(transaction)?, status, end, at, rank, raw })
    }

    /// Whether this counts, given what is stored: first by the periods, then by the time of signing, then by what is said.
    pub fn relation(&self, row: &Subscription) -> Relation {
        let stored = Place::of(row);
        match self.transaction.cmp_period(&stored.transaction).then(self.at.cmp(&stored.at)) {
            Ordering::Less => Relation::Older,
            Ordering::Greater => Relation::Newer,
            Ordering::Equal if self.rank < stored.rank => Relation::Older,
            Ordering::Equal if self.rank == kinds::READ => Relation::Newer,
            Ordering::Equal => Relation::Tied,
        }
    }

    pub fn is_running(&self) -> bool {
        self.status.is_running()
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            vendor: Vendor::Apple,
            external_id: self.transaction.original_id.clone(),
            product: self.transaction.product.clone(),
            status: Some(self.status),
            // Also where a payment failed: the plan that is kept then is that of the last period, which the transaction tells even
            // if its own notice is lost.
            plan: self.transaction.product.as_deref().map(Plan::of_product),
            current_period_end: self.end,
            cancel_at: CancelAt::Unchanged,
            transaction_id: self.transaction.id.clone(),
            raw: self.raw.clone(),
        }
    }
}

/// End of the time that is granted: of the period, or of the grace after it.
fn end_of(effect: Effect, transaction: &Value, renewal: &Value) -> Option<DateTime<Utc>> {
    let period = time(transaction, "expiresDate");
    match effect {
        Effect::Grace => time(renewal, "gracePeriodExpiresDate").or(period),
        _ => period,
    }
}

impl Place {
    /// The place of the last statement that counted. A row of another origin (an earlier version, the end of a paid time without
    /// a notice) tells less.
    fn of(row: &Subscription) -> Self {
        let raw = &row.raw.0;
        if let Some(transaction) = Transaction::read(&raw["transaction"])
            && let Some(at) = time(raw, "signedDate")
            && let Some(rank) = raw["rank"].as_i64().and_then(|rank| i16::try_from(rank).ok())
        {
            return Self { transaction, at, rank };
        }
        let transaction = Transaction {
            id: row.last_transaction_id.clone(),
            original_id: row.external_id.clone(),
            product: row.product.clone(),
            purchased: None,
            expires: row.current_period_end,
            revoked: None,
            signed: None,
            account: None,
        };
        Self { transaction, at: row.event_at, rank: row.event_rank }
    }
}
