//! Reservations of plan quotas. A request is counted before its work, so that concurrent requests cannot pass the limit, and
//! given back only if the work came to nothing.

use chrono::TimeDelta;
use http::HeaderMap;

use super::Quota;
use super::config::Settings;
use super::model::Month;
use super::plans::Limits;
use super::store::{self, Counter, Usage};
use crate::app::App;
use crate::app::feature::Removed;
use crate::platform::actor::CurrentUser;
use crate::platform::error::{Error, Result};
use crate::platform::http::quota_headers;
use crate::platform::id::UserId;

/// Time that counters are kept past the end of their month.
const KEEP: TimeDelta = TimeDelta::days(1);

/// One counted request of a user. Dropped, it stays counted.
#[derive(Debug)]
#[must_use = "the headers of the quota belong on the answer"]
pub struct Reservation(
    /// `None` where plan limits are off.
    Option<Reserved>,
);

#[derive(Debug)]
struct Reserved {
    user: UserId,
    quota: Quota,
    month: Month,
    usage: Usage,
}

/// Counts one request of the user, or fails with [`Error::PlanLimit`] if the quota of their plan is used up. The last check
/// before the work: whatever fails earlier must not count.
pub async fn reserve(app: &App, user: &CurrentUser, quota: Quota) -> Result<Reservation> {
    if app.config.feature::<Settings>().is_some_and(|settings| !settings.enabled) {
        return Ok(Reservation(None));
    }
    let (month, limits) = (Month::of(app.clock.now()), Limits::of(quota));
    let counter = Counter { user: &user.id, feature: quota.name(), period: &month.to_string() };
    if let Some(usage) = store::reserve(&app.db, &counter, &limits).await? {
        return Ok(Reservation(Some(Reserved { user: user.id.clone(), quota, month, usage })));
    }
    // Not there: the user was erased after the request was authenticated.
    let usage = store::usage(&app.db, &counter, &limits).await?.ok_or(Error::Unauthenticated("Invalid token"))?;
    // Another request may have given back since: the limit was reached when this one was refused.
    let used = usage.used.max(usage.last_limit);
    Err(Error::PlanLimit { feature: quota.name(), limit: usage.last_limit, used, resets_at: Some(month.end()) })
}

impl Reservation {
    /// Takes the request back, in the month in which it was counted. A failure is logged and the request stays counted: it
    /// must not change an answer.
    pub async fn give_back(self, app: &App) {
        let Some(Reserved { user, quota, month, .. }) = self.0 else { return };
        let counter = Counter { user: &user, feature: quota.name(), period: &month.to_string() };
        if let Err(error) = store::give_back(&app.db, &counter).await {
            tracing::warn!(user_id = user.as_str(), feature = quota.name(), error = %error, "request not given back to its quota");
        }
    }

    /// Sets the headers of the quota: how much of it is left after this request, and when it is full again.
    pub fn set_headers(&self, headers: &mut HeaderMap) {
        if let Some(Reserved { month, usage, .. }) = &self.0 {
            quota_headers::set(headers, usage.last_limit, usage.used, Some(month.end()));
        }
    }
}

/// Removes a bounded number of counters of past months.
pub async fn sweep(app: &App) -> Result<Removed> {
    let oldest = Month::of(app.clock.now() - KEEP);
    Ok(Removed::records(store::sweep(&app.db, &oldest.to_string()).await?))
}
