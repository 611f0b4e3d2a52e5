//! Applies what a vendor tells about a subscription, and derives the user's plan, in one transaction.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;

use crate::app::App;
use crate::app::jobs::New;
use crate::features::emails::SendNotificationEmail;
use crate::features::subscriptions::model::{Applied, CancelAt, Plan, Snapshot, Status, Subscription, SubscriptionId, Told, Vendor, best};
use crate::features::subscriptions::state::State;
use crate::features::subscriptions::store;
use crate::features::users::service::vendors::{self as users, PlanCopy, UserVendors};
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::id::UserId;
use crate::platform::json;

/// Applies a snapshot to its subscription, in the caller's transaction. The owner of a stored subscription stays its owner.
///
/// `ask`: whether the vendor can be asked for the current object. Then an event of the same time as the last one applied is a
/// [`Applied::Tie`]; otherwise the ranks decide.
pub async fn apply(app: &App, tx: &mut Tx, user: &UserId, snapshot: &Snapshot, told: Told, ask: bool) -> Result<Applied> {
    let Some(around) = lock(app, tx, user, snapshot.vendor, &snapshot.external_id).await? else { return Ok(Applied::Unchanged) };
    let before = around.at.map(|at| around.all[at].clone());
    if let Some(row) = &before {
        let late = told.at < row.event_at;
        let tied = told.at == row.event_at && !told.current;
        if late || row.superseded_by.is_some() || (tied && !ask && told.rank < row.event_rank) {
            return told_late(app, tx, around, row, snapshot, told).await;
        }
        if tied && ask {
            return Ok(Applied::Tie);
        }
    }
    let Around { owner, all, .. } = &around;
    let row = applied(owner, before.as_ref(), all.is_empty(), snapshot, told, app.clock.now());
    let began = row.status.is_active() && before.as_ref().is_none_or(|before| !before.status.is_active());
    if began && let Some(other) = best(all.iter().filter(|other| other.id != row.id && other.status.is_active())) {
        report_parallel(app, tx, owner, &row, other).await?;
    }
    around.keep(app, tx, row).await?;
    Ok(Applied::Changed)
}

/// A late event changes nothing, with one exception: where the later ones kept the plan (a payment failed), the plan that is kept
/// is that of the latest event that told one.
async fn told_late(app: &App, tx: &mut Tx, around: Around, row: &Subscription, snapshot: &Snapshot, told: Told) -> Result<Applied> {
    let Some(plan) = snapshot.plan.filter(|_| row.status != Status::Canceled && row.superseded_by.is_none()) else {
        return Ok(Applied::Unchanged);
    };
    if plan_time(told) <= row.plan_at {
        return Ok(Applied::Unchanged);
    }
    let row = Subscription { plan, plan_at: plan_time(told), ..row.clone() };
    around.keep(app, tx, row).await?;
    Ok(Applied::Changed)
}

/// The time of a plan. The rank is added as microseconds, which no vendor tells, so that plans of the same time have an order.
fn plan_time(told: Told) -> DateTime<Utc> {
    told.at + TimeDelta::microseconds(told.rank.into())
}

/// Marks a subscription as replaced by another one, as after a change of its purchase token: a plan no longer follows from it, and
/// its later events change nothing. Its row is made if there is none, because the old one's events may come later.
pub async fn supersede(app: &App, tx: &mut Tx, user: &UserId, vendor: Vendor, old: &str, new: &str) -> Result<()> {
    let Some(around) = lock(app, tx, user, vendor, old).await? else { return Ok(()) };
    let row = match around.at {
        Some(at) => Subscription { superseded_by: Some(new.to_owned()), ..around.all[at].clone() },
        None => Subscription {
            superseded_by: Some(new.to_owned()),
            ..unknown(&around.owner.id, vendor, old, Told { at: DateTime::UNIX_EPOCH, rank: 0, current: false }, app.clock.now())
        },
    };
    around.keep(app, tx, row).await
}

/// A locked user with all subscriptions, and the place among them of the one that a snapshot is about.
struct Around {
    owner: UserVendors,
    all: Vec<Subscription>,
    at: Option<usize>,
}

impl Around {
    /// Stores the subscription's new state, and derives the user's plan from all of them.
    async fn keep(mut self, app: &App, tx: &mut Tx, row: Subscription) -> Result<()> {
        store::put(&mut *tx, &row, app.clock.now()).await?;
        match self.at {
            Some(at) => self.all[at] = row,
            None => self.all.push(row),
        }
        derive(app, tx, &self.owner, &self.all).await
    }
}

/// Locks the user's row first, so that all changes of one user's subscriptions follow each other and each sees the one before.
/// `None` if the user is gone.
async fn lock(app: &App, tx: &mut Tx, user: &UserId, vendor: Vendor, external_id: &str) -> Result<Option<Around>> {
    let mut user = user.clone();
    loop {
        let Some(owner) = users::lock(app, tx, &user).await? else { return Ok(None) };
        let all = store::around(&mut *tx, &user, vendor, external_id).await?;
        let at = all.iter().position(|row| row.vendor == vendor && row.external_id == external_id);
        match at {
            // An owner never changes, so this goes round twice at most.
            Some(at) if all[at].user_id != user => user = all[at].user_id.clone(),
            at => return Ok(Some(Around { owner, all, at })),
        }
    }
}

/// A subscription of which nothing is known but its id.
fn unknown(owner: &UserId, vendor: Vendor, external_id: &str, told: Told, now: DateTime<Utc>) -> Subscription {
    Subscription {
        id: SubscriptionId::new(),
        created_at: now,
        user_id: owner.clone(),
        vendor,
        external_id: external_id.to_owned(),
        product: None,
        plan: Plan::Free,
        status: Status::Incomplete,
        current_period_end: None,
        cancel_at: None,
        event_at: told.at,
        plan_at: DateTime::UNIX_EPOCH,
        event_rank: told.rank,
        last_transaction_id: None,
        superseded_by: None,
        raw: Json(serde_json::json!({})),
    }
}

/// The row after the snapshot. `first`: the user has no subscriptions yet.
pub(super) fn applied(
    owner: &UserVendors,
    before: Option<&Subscription>,
    first: bool,
    snapshot: &Snapshot,
    told: Told,
    now: DateTime<Utc>,
) -> Subscription {
    let mut row = before.cloned().unwrap_or_else(|| {
        // An earlier version may have stored the plan of a first subscription with the user only.
        let stored = owner.subscription_plan.as_deref().and_then(Plan::parse).filter(|_| first);
        let unknown = unknown(&owner.id, snapshot.vendor, &snapshot.external_id, told, now);
        Subscription { plan: stored.unwrap_or(Plan::Free), ..unknown }
    });
    if let Some(status) = snapshot.status {
        row.status = status;
    }
    (row.plan, row.plan_at) = match (row.status, snapshot.plan) {
        (Status::Canceled, _) => (Plan::Free, plan_time(told)),
        (_, Some(plan)) => (plan, plan_time(told)),
        (_, None) => (row.plan, row.plan_at),
    };
    row.product = snapshot.product.clone().or(row.product);
    row.current_period_end = snapshot.current_period_end.or(row.current_period_end);
    match snapshot.cancel_at {
        CancelAt::Unchanged => {}
        CancelAt::Never => row.cancel_at = None,
        CancelAt::At(time) => row.cancel_at = Some(time),
    }
    row.last_transaction_id = snapshot.transaction_id.clone().or(row.last_transaction_id);
    row.raw = Json(json::storable(snapshot.raw.clone()));
    if told.at > row.event_at || told.rank > row.event_rank {
        row.event_rank = told.rank;
    }
    row.event_at = row.event_at.max(told.at);
    row
}

/// Sets the user's copy of the plan: the one function that decides which plan a user has.
async fn derive(app: &App, tx: &mut Tx, owner: &UserVendors, all: &[Subscription]) -> Result<()> {
    let decides = best(all.iter().filter(|row| row.user_id == owner.id));
    let Some(row) = decides else { return Ok(()) };
    let plan = PlanCopy { status: row.status.name(), plan: row.plan.name(), source: row.vendor.name(), event_at: row.event_at };
    users::set_plan(tx, &owner.id, &plan, app.clock.now()).await
}

/// Tells the user and the operators that two subscriptions are paid for at once: the vendors know nothing of each other.
async fn report_parallel(app: &App, tx: &mut Tx, owner: &UserVendors, new: &Subscription, other: &Subscription) -> Result<()> {
    tracing::warn!(
        user_id = owner.id.as_str(),
        provider = new.vendor.name(),
        other_provider = other.vendor.name(),
        "the user pays for two subscriptions at once"
    );
    let (state, vendor) = (app.state::<State>().clone(), new.vendor.name());
    tx.after_commit(move || state.parallel.with_label_values(&[vendor]).inc());
    let mail = SendNotificationEmail {
        email: owner.email.clone(),
        subject: "You have two subscriptions".to_owned(),
        body: format!(
            "Your account now has two subscriptions that are paid for at the same time: one through {}, and a new one through {}. \
             If you did not mean this, cancel one of them where you bought it.",
            bought_at(other.vendor),
            bought_at(new.vendor)
        ),
        template: None,
        data: None,
        purpose: Some("parallel_subscriptions".to_owned()),
    };
    app.jobs.enqueue(tx, &mail, New { owner_id: Some(owner.id.clone()), ..New::default() }).await?;
    Ok(())
}

fn bought_at(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Stripe => "our website",
        Vendor::Apple => "the App Store",
        Vendor::Google => "Google Play",
    }
}
