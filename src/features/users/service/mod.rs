//! Business rules of users: authentication, logins, and changes by administrators.

pub mod accounts;
mod admin;
mod authenticate;
mod data;
pub mod operator;
mod profile;
pub mod profile_sync;
pub mod vendors;
mod welcome;

pub use admin::{get, list, set_active, update};
pub use authenticate::{admit, readmit};
pub use data::{Figures, erase, export, figures, is_empty, refresh_metrics};
pub use profile::{me, update_me};
pub use welcome::salutation;

use super::state::State;
use crate::app::App;
use crate::platform::id::UserId;

/// Invalidates the cached identity of a user on every instance. Required after a feature changes the user in its own SQL.
pub fn invalidate(app: &App, user: &UserId) {
    app.state::<State>().identities.invalidate(user.as_str());
}
