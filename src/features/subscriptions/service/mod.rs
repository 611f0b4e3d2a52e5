//! Rules of subscriptions: what an event changes, what a user's plan is, and how stored states are compared with the vendors.

mod apply;
mod compare;
mod status;

pub use super::source::add_source;
pub use apply::{apply, supersede};
pub use compare::{Difference, compare, sweep, sync};
pub use status::{current, stored};

use super::model::{Subscription, Vendor};
use super::store;
use crate::app::App;
use crate::features::users::service::vendors;
use crate::platform::db::{Executor, Tx};
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;

/// The stored subscription with this id of its vendor.
pub async fn find(on: impl Into<Executor<'_>>, vendor: Vendor, external_id: &str) -> Result<Option<Subscription>> {
    Ok(store::find(on, vendor, external_id).await?)
}

/// All stored subscriptions of a user, oldest first.
pub async fn of_user(app: &App, user: &UserId) -> Result<Vec<Subscription>> {
    Ok(store::of_user(&app.db, user).await?)
}

/// As [`of_user`]; fails if there is no such user.
pub async fn of_existing_user(app: &App, user: &UserId) -> Result<Vec<Subscription>> {
    vendors::of(&app.db, user).await?.ok_or_else(|| Error::not_found("User", user.as_str()))?;
    of_user(app, user).await
}

pub(super) async fn erase(tx: &mut Tx, user: &UserId) -> Result<u64> {
    Ok(store::erase(tx, user).await?)
}
