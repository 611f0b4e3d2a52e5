//! The state of a user's billing, stored and current.

use super::apply::applied;
use crate::app::App;
use crate::features::subscriptions::model::{BillingStatus, Snapshot, Subscription, Told, Vendor};
use crate::features::subscriptions::source::Sources;
use crate::features::subscriptions::store;
use crate::features::users::service::vendors::{self, UserVendors};
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;

/// The stored state, read by one statement.
pub async fn stored(app: &App, user: &UserId) -> Result<BillingStatus> {
    Ok(read(app, user).await?.status())
}

/// The state with Stripe's subscriptions as Stripe has them now, if the user has a customer there. If Stripe fails, the stored
/// state.
pub async fn current(app: &App, user: &UserId) -> Result<BillingStatus> {
    let stored = read(app, user).await?;
    let source = app.state::<Sources>().of(app, Vendor::Stripe).filter(|_| stored.has_customer);
    let Some(source) = source else { return Ok(stored.status()) };
    let Some(owner) = vendors::of(&app.db, user).await? else { return Ok(stored.status()) };
    match source.list(app, &owner).await {
        Ok(live) => Ok(stored.with_live(app, &owner, &live).status()),
        Err(Error::Upstream { message, cause, .. }) => {
            tracing::warn!(cause, "the billing status is the stored one: {message}");
            Ok(stored.status())
        }
        Err(error) => Err(error),
    }
}

/// What a status follows from.
struct Known {
    subscriptions: Vec<Subscription>,
    copied_plan: Option<String>,
    copied_status: Option<String>,
    has_customer: bool,
}

async fn read(app: &App, user: &UserId) -> Result<Known> {
    let mut known = Known { subscriptions: Vec::new(), copied_plan: None, copied_status: None, has_customer: false };
    for row in store::status(&app.db, user).await? {
        known.has_customer = row.stripe_customer_id.is_some();
        (known.copied_plan, known.copied_status) = (row.copied_plan.clone(), row.copied_status.clone());
        known.subscriptions.extend(row.subscription());
    }
    Ok(known)
}

impl Known {
    fn status(&self) -> BillingStatus {
        let of_copy = || BillingStatus::of_copy(self.copied_plan.as_deref(), self.copied_status.as_deref());
        BillingStatus::of(&self.subscriptions).unwrap_or_else(of_copy)
    }

    /// Replaces Stripe's subscriptions: by those that are active or in their trial, else by the newest.
    fn with_live(mut self, app: &App, owner: &UserVendors, live: &[Snapshot]) -> Self {
        let now = app.clock.now();
        let told = Told { at: now, rank: 0, current: true };
        let rows = live.iter().map(|snapshot| {
            let before = self.subscriptions.iter().find(|row| row.vendor == Vendor::Stripe && row.external_id == snapshot.external_id);
            applied(owner, before, self.subscriptions.is_empty(), snapshot, told, now)
        });
        let rows: Vec<_> = rows.collect();
        let mut chosen: Vec<_> = rows.iter().filter(|row| row.status.is_active()).cloned().collect();
        if chosen.is_empty() {
            // Stripe lists the newest first.
            chosen.extend(rows.into_iter().next());
        }
        self.subscriptions.retain(|row| row.vendor != Vendor::Stripe);
        self.subscriptions.extend(chosen);
        self
    }
}
