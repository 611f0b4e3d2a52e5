//! A user's accounts at payment vendors, and the copy of their plan, for the features that bill.

use chrono::{DateTime, TimeDelta, Utc};

use crate::app::App;
use crate::features::users::store::vendors as store;
pub use crate::features::users::store::vendors::{Column, PlanCopy, UserVendors};
use crate::platform::db::{Executor, Tx};
use crate::platform::error::Result;
use crate::platform::id::UserId;

/// Customers without a running plan are compared with Stripe until nothing of them has changed for this long.
const LAPSED: TimeDelta = TimeDelta::days(30);

/// The user's accounts at vendors and their plan; `None` if there is no such user.
pub async fn of(on: impl Into<Executor<'_>>, id: &UserId) -> Result<Option<UserVendors>> {
    Ok(store::by_id(on, id).await?)
}

/// As [`of`]; also locks the user's row until the transaction ends.
pub async fn lock(app: &App, tx: &mut Tx, id: &UserId) -> Result<Option<UserVendors>> {
    Ok(store::lock(&app.db, tx, id).await?)
}

/// Users with a customer at Stripe whose plan is not running, in the order of their ids, of the last weeks only.
pub async fn lapsed_customers(app: &App, after: Option<&UserId>, limit: i64) -> Result<Vec<UserId>> {
    Ok(store::lapsed_customers(&app.db, app.clock.now() - LAPSED, after, limit).await?)
}

/// Returns the user to whom a vendor's id belongs.
pub async fn find(on: impl Into<Executor<'_>>, column: Column, value: &str) -> Result<Option<UserId>> {
    Ok(store::find(on, column, value).await?)
}

/// Sets a vendor's id of the user, or clears it. Returns `false` if another user has it.
pub async fn set(app: &App, tx: &mut Tx, id: &UserId, column: Column, value: Option<&str>) -> Result<bool> {
    if let Some(value) = value
        && store::find(&mut *tx, column, value).await?.is_some_and(|owner| owner != *id)
    {
        return Ok(false);
    }
    store::set(tx, id, column, value, app.clock.now()).await?;
    Ok(true)
}

/// Sets the copy of the plan that follows from the user's subscriptions.
pub async fn set_plan(tx: &mut Tx, id: &UserId, plan: &PlanCopy<'_>, now: DateTime<Utc>) -> Result<()> {
    Ok(store::set_plan(tx, id, plan, now).await?)
}
