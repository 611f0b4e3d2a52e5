//! Compares stored subscriptions with their vendors, and applies what differs: events may be lost.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::apply::apply;
use crate::app::App;
use crate::features::subscriptions::model::{CancelAt, Snapshot, Status, Subscription, Told, Vendor};
use crate::features::subscriptions::source::{Source, Sources};
use crate::features::subscriptions::state::State;
use crate::features::subscriptions::store;
use crate::features::users::service::vendors;
use crate::platform::error::Result;
use crate::platform::id::UserId;

/// Time after which a subscription has ended whose vendor cannot be asked: both app stores grant up to a day after a failed
/// payment without telling.
const SILENT_GRACE: TimeDelta = TimeDelta::hours(24);

/// A subscription whose stored state was not that of its vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub vendor: Vendor,
    pub external_id: String,
    /// `None` if it was not stored.
    pub before: Option<Status>,
    pub after: Status,
}

/// Compares one stored subscription with its vendor. `None` if they agree, or if the vendor cannot be asked.
pub async fn compare(app: &App, row: &Subscription) -> Result<Option<Difference>> {
    let Some(source) = app.state::<Sources>().of(app, row.vendor) else { return Ok(None) };
    let asked = app.clock.now();
    match source.read(app, row).await? {
        Some(snapshot) => correct(app, &row.user_id, &snapshot, asked).await,
        None => Ok(None),
    }
}

/// Compares a subscription whose paid time has ended without an event. The vendor decides; where it cannot be asked, or tells
/// nothing, the subscription has ended a day after its end.
pub async fn sweep(app: &App, row: &Subscription) -> Result<Option<Difference>> {
    let now = app.clock.now();
    if let Some(source) = app.state::<Sources>().of(app, row.vendor)
        && let Some(snapshot) = source.read(app, row).await?
    {
        return correct(app, &row.user_id, &snapshot, now).await;
    }
    if row.current_period_end.is_none_or(|end| end + SILENT_GRACE > now) {
        return Ok(None);
    }
    let ended = Snapshot {
        vendor: row.vendor,
        external_id: row.external_id.clone(),
        product: None,
        status: Some(Status::Canceled),
        plan: None,
        current_period_end: None,
        cancel_at: CancelAt::Unchanged,
        transaction_id: None,
        raw: json!({"ended": "no word of the vendor since the end of the paid time"}),
    };
    // As of the end of the paid time, so that a later event of the vendor still counts.
    let at = row.current_period_end.unwrap_or(now).max(row.event_at);
    correct(app, &row.user_id, &ended, at).await
}

/// Compares all of a user's subscriptions with the vendors that can be asked, also those that are not stored.
pub async fn sync(app: &App, user: &UserId) -> Result<Vec<Difference>> {
    let Some(owner) = vendors::of(&app.db, user).await? else { return Ok(Vec::new()) };
    let (sources, mut differences, mut told) = (app.state::<Sources>(), Vec::new(), Vec::new());
    let asking: Vec<&'static dyn Source> = sources.askable(app).collect();
    for source in asking {
        let asked = app.clock.now();
        for snapshot in source.list(app, &owner).await? {
            differences.extend(correct(app, user, &snapshot, asked).await?);
            told.push((snapshot.vendor, snapshot.external_id));
        }
    }
    for row in store::of_user(&app.db, user).await? {
        if row.superseded_by.is_none() && !told.contains(&(row.vendor, row.external_id.clone())) {
            differences.extend(compare(app, &row).await?);
        }
    }
    Ok(differences)
}

/// Applies a state that was read at this time; returns how it differs from the stored one.
async fn correct(app: &App, user: &UserId, snapshot: &Snapshot, at: DateTime<Utc>) -> Result<Option<Difference>> {
    let (before, after) = crate::transaction!(app.db, |tx| {
        let before = store::find(&mut *tx, snapshot.vendor, &snapshot.external_id).await?;
        apply(app, tx, user, snapshot, Told { at, rank: 0, current: true }, false).await?;
        let after = store::find(&mut *tx, snapshot.vendor, &snapshot.external_id).await?;
        Ok((before, after))
    })?;
    let Some(after) = after else { return Ok(None) };
    let of = |row: &Subscription| (row.status, row.plan, row.product.clone(), row.current_period_end, row.cancel_at);
    if before.as_ref().is_some_and(|before| of(before) == of(&after)) {
        return Ok(None);
    }
    app.state::<State>().differences.with_label_values(&[after.vendor.name()]).inc();
    let was = before.map(|before| before.status);
    tracing::warn!(
        user_id = after.user_id.as_str(),
        provider = after.vendor.name(),
        subscription = after.id.to_string(),
        before = was.map_or("unknown", Status::name),
        after = after.status.name(),
        "a subscription differed from its vendor, and is corrected"
    );
    Ok(Some(Difference { vendor: after.vendor, external_id: after.external_id, before: was, after: after.status }))
}
