//! Rules of purchases: whose they are, what they change, and how they are linked.

mod apply;
mod link;

use chrono::{DateTime, Utc};

use super::model::Reading;
use super::state::State;
use crate::app::App;
use crate::features::subscriptions::model::Vendor;
use crate::features::subscriptions::service as subscriptions;
use crate::platform::error::{Error, Result};
use crate::providers::ProviderError;
use crate::providers::payments::google::Lookup;
pub use apply::{Told, apply_kind, apply_reading};
pub use link::link;

/// Asks Google for a purchase. `None` if Google does not know it, or not yet. The answer counts from now on, or from `not_before` or
/// the last event that was applied, whichever is later: clocks differ, and the answer includes all that was told before.
pub async fn ask(app: &App, purchase_token: &str, not_before: Option<DateTime<Utc>>) -> Result<Option<Reading>> {
    let known = subscriptions::find(&app.db, Vendor::Google, purchase_token).await?.map(|row| row.event_at);
    let asked = [not_before, known].into_iter().flatten().fold(app.clock.now(), DateTime::max);
    match app.state::<State>().play()?.purchase(purchase_token).await.map_err(upstream)? {
        Lookup::Found(purchase) => Ok(Some(Reading { asked, purchase: Some(*purchase) })),
        Lookup::Gone => Ok(Some(Reading { asked, purchase: None })),
        Lookup::Unknown => Ok(None),
    }
}

/// Reports only that Google Play failed; the cause is logged.
fn upstream(error: ProviderError) -> Error {
    let retry_after = match &error {
        ProviderError::Transient { retry_after, .. } => Some(retry_after.map_or(1, |after| after.as_secs().max(1))),
        ProviderError::Rejected(_) | ProviderError::NotConfigured(_) => None,
    };
    Error::Upstream { message: "Google Play failed", service: "google_play", reason: None, retry_after, cause: error.to_string() }
}

/// Logs why a purchase could not be read.
pub fn log_failure(error: &Error) {
    if let Error::Upstream { cause, .. } = error {
        tracing::warn!(cause, "a purchase could not be read from Google Play: the notification's type counts until it is");
    }
}
