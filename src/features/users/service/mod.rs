//! Rules about users: authentication, logins, and what administrators may change.

pub mod accounts;
mod admin;
mod authenticate;
mod data;
pub mod operator;
mod profile;
mod welcome;

pub use admin::{get, list, set_active, update};
pub use authenticate::authenticate;
pub use data::{Figures, erase, export, figures, is_empty, refresh_metrics};
pub use profile::{me, update_me};
pub use welcome::salutation;

use super::state::State;
use crate::app::App;
use crate::platform::id::UserId;

/// Makes the next request of a user read their row again, on every instance. For features that change a user in a statement
/// of their own.
pub fn invalidate(app: &App, user: &UserId) {
    app.state::<State>().identities.invalidate(user.as_str());
}
