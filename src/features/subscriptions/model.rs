//! Subscriptions as their vendors tell them, as they are stored, and what follows from them for a user.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::platform::id::{Id, Resource, UserId};

pub type SubscriptionId = Id<Subscription>;

impl Resource for Subscription {
    const NAME: &'static str = "Subscription";
}

/// A payment vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = PaymentVendor)]
pub enum Vendor {
    Stripe,
    Apple,
    Google,
}

impl Vendor {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Apple => "apple",
            Self::Google => "google",
        }
    }
}

/// The state of a subscription. From the one that gives least to the one that gives most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = SubscriptionStatus)]
pub enum Status {
    Canceled,
    Incomplete,
    PastDue,
    Trialing,
    Active,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::Incomplete => "incomplete",
            Self::PastDue => "past_due",
            Self::Trialing => "trialing",
            Self::Active => "active",
        }
    }

    /// Whether it is paid for, or being tried.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Active | Self::Trialing)
    }

    /// Whether it has begun and has not ended.
    pub fn is_running(self) -> bool {
        self >= Self::PastDue
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Plan {
    Free,
    Pro,
    Enterprise,
}

impl Plan {
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Free, Self::Pro, Self::Enterprise].into_iter().find(|plan| plan.name() == name)
    }

    /// The plan of a product of an app store, by the product's id.
    pub fn of_product(id: &str) -> Self {
        if id.contains("enterprise") { Self::Enterprise } else { Self::Pro }
    }
}

/// The state of a subscription as its vendor tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub vendor: Vendor,
    /// The vendor's id of the subscription.
    pub external_id: String,
    /// Price or product id; `None` leaves it as it is.
    pub product: Option<String>,
    /// `None` leaves it as it is.
    pub status: Option<Status>,
    /// `None` keeps the plan, as for a payment that failed.
    pub plan: Option<Plan>,
    /// `None` leaves it as it is.
    pub current_period_end: Option<DateTime<Utc>>,
    pub cancel_at: CancelAt,
    /// The newest known transaction; `None` leaves it as it is.
    pub transaction_id: Option<String>,
    /// The vendor's object, without secrets.
    pub raw: Value,
}

/// When a subscription ends by the customer's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelAt {
    Unchanged,
    Never,
    At(DateTime<Utc>),
}

/// When, and by what, a snapshot was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The vendor's own time.
    pub at: DateTime<Utc>,
    /// The order of events of the same time: 0 created, 1 updated, 2 ended.
    pub rank: i16,
    /// Read from the vendor, and not taken from an event: wins against events of the same time.
    pub current: bool,
}

/// What applying a snapshot did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Changed,
    /// It is older than what is known, its subscription is superseded, or the user is gone.
    Unchanged,
    /// Its time is that of the last event applied, so the vendor's current object decides.
    Tie,
}

/// A row of `subscriptions`.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub created_at: DateTime<Utc>,
    pub user_id: UserId,
    #[sqlx(rename = "provider")]
    pub vendor: Vendor,
    pub external_id: String,
    pub product: Option<String>,
    pub plan: Plan,
    pub status: Status,
    pub current_period_end: Option<DateTime<Utc>>,
    pub cancel_at: Option<DateTime<Utc>>,
    pub event_at: DateTime<Utc>,
    pub plan_at: DateTime<Utc>,
    pub event_rank: i16,
    pub last_transaction_id: Option<String>,
    pub superseded_by: Option<String>,
    pub raw: Json<Value>,
}

/// A subscription as administrators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubscriptionRead, example = json!({
    "id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "provider": "stripe", "external_id": "sub_1PxExample", "product": "price_1PxExample",
    "plan": "pro", "status": "active", "current_period_end": "2026-02-10T12:00:00Z", "cancel_at": null,
    "event_at": "2026-01-10T12:00:00Z", "superseded_by": null, "created_at": "2026-01-10T12:00:00.123456Z"
}))]
pub struct SubscriptionRead {
    #[schema(value_type = String)]
    pub id: SubscriptionId,
    pub provider: Vendor,
    /// The vendor's id of the subscription.
    pub external_id: String,
    /// Price or product id.
    pub product: Option<String>,
    pub plan: Plan,
    pub status: Status,
    pub current_period_end: Option<DateTime<Utc>>,
    /// When it ends by the customer's wish.
    pub cancel_at: Option<DateTime<Utc>>,
    /// The vendor's time of the last event.
    pub event_at: DateTime<Utc>,
    /// The subscription that took its place.
    pub superseded_by: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl From<Subscription> for SubscriptionRead {
    fn from(s: Subscription) -> Self {
        Self {
            id: s.id,
            provider: s.vendor,
            external_id: s.external_id,
            product: s.product,
            plan: s.plan,
            status: s.status,
            current_period_end: s.current_period_end,
            cancel_at: s.cancel_at,
            event_at: s.event_at,
            superseded_by: s.superseded_by,
            created_at: s.created_at,
        }
    }
}

/// The subscription that decides about a user's plan: running before ended, then by plan, status and end.
pub fn best<'s>(all: impl IntoIterator<Item = &'s Subscription>) -> Option<&'s Subscription> {
    let standing =
        |s: &Subscription| (s.status.is_running(), s.status != Status::Canceled, s.plan, s.status, s.current_period_end, s.event_at);
    all.into_iter().filter(|s| s.superseded_by.is_none()).max_by_key(|s| standing(s))
}

/// The state of a user's billing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({
    "plan": "pro", "status": "active", "current_period_end": "2026-02-10T12:00:00Z", "cancel_at_period_end": false,
    "has_active_subscription": true
}))]
pub struct BillingStatus {
    pub plan: Plan,
    /// `null` if there has been no subscription.
    pub status: Option<Status>,
    pub current_period_end: Option<DateTime<Utc>>,
    /// Whether the subscription is set to end.
    pub cancel_at_period_end: bool,
    /// Whether the subscription is active or in its trial.
    pub has_active_subscription: bool,
    /// Further subscriptions that are paid for at the same time, which is seldom meant. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub also_running: Vec<AlsoRunning>,
}

/// A subscription that runs besides the one that decides.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AlsoRunning {
    pub provider: Vendor,
    pub plan: Plan,
    pub status: Status,
    pub product: Option<String>,
    pub current_period_end: Option<DateTime<Utc>>,
}

impl BillingStatus {
    /// The status that follows from a user's subscriptions; `None` if they have none.
    pub fn of(all: &[Subscription]) -> Option<Self> {
        let decides = best(all)?;
        let also = |s: &&Subscription| s.id != decides.id && s.superseded_by.is_none() && s.status.is_active();
        let also_running = if decides.status.is_active() { all.iter().filter(also).map(AlsoRunning::from).collect() } else { Vec::new() };
        Some(Self {
            plan: if decides.status == Status::Canceled { Plan::Free } else { decides.plan },
            status: Some(decides.status),
            current_period_end: decides.current_period_end,
            cancel_at_period_end: decides.status != Status::Canceled && decides.cancel_at.is_some(),
            has_active_subscription: decides.status.is_active(),
            also_running,
        })
    }

    /// The status of a user without subscriptions: free, unless an earlier version stored something else.
    pub fn of_copy(plan: Option<&str>, status: Option<&str>) -> Self {
        let known = [Status::Canceled, Status::Incomplete, Status::PastDue, Status::Trialing, Status::Active];
        let status = status.and_then(|name| known.into_iter().find(|status| status.name() == name));
        Self {
            plan: plan.and_then(Plan::parse).unwrap_or(Plan::Free),
            status,
            current_period_end: None,
            cancel_at_period_end: false,
            has_active_subscription: status.is_some_and(Status::is_active),
            also_running: Vec::new(),
        }
    }
}

impl From<&Subscription> for AlsoRunning {
    fn from(s: &Subscription) -> Self {
        Self { provider: s.vendor, plan: s.plan, status: s.status, product: s.product.clone(), current_period_end: s.current_period_end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: Status, plan: Plan, end: i64) -> Subscription {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        Subscription {
            id: SubscriptionId::new(),
            created_at: at(0),
            user_id: UserId::parse("ada").unwrap(),
            vendor: Vendor::Stripe,
            external_id: format!("{status:?}{plan:?}{end}"),
            product: None,
            plan,
            status,
            current_period_end: Some(at(end)),
            cancel_at: None,
            event_at: at(0),
            plan_at: at(0),
            event_rank: 0,
            last_transaction_id: None,
            superseded_by: None,
            raw: Json(Value::Null),
        }
    }

    #[test]
    fn best_is_running_then_plan_then_status_then_end() {
        use Plan::{Enterprise, Free, Pro};
        use Status::{Active, Canceled, Incomplete, PastDue, Trialing};
        let order = [
            row(Canceled, Free, 900),
            row(Incomplete, Pro, 900),
            row(Incomplete, Enterprise, 1),
            row(PastDue, Pro, 900),
            row(Trialing, Pro, 900),
            row(Active, Pro, 1),
            row(Active, Pro, 2),
            row(PastDue, Enterprise, 1),
            row(Active, Enterprise, 1),
        ];
        for (worse, better) in order.iter().zip(&order[1..]) {
            assert_eq!(best([worse, better]), Some(better));
            assert_eq!(best([better, worse]), Some(better));
            let superseded = Subscription { superseded_by: Some("x".to_owned()), ..better.clone() };
            assert_eq!(best([&superseded, worse]), Some(worse));
        }
        assert_eq!(best([]), None);
    }

    #[test]
    fn status_names_all_that_run_at_once() {
        let all = [row(Status::Active, Plan::Pro, 5), row(Status::Trialing, Plan::Pro, 9), row(Status::PastDue, Plan::Pro, 9)];
        let status = BillingStatus::of(&all).unwrap();
        assert_eq!((status.status, status.also_running.len()), (Some(Status::Active), 1));
        assert_eq!(BillingStatus::of(&all[2..]).unwrap().also_running, []);
    }
}
