//! Plan quotas for other features.
//!
//! Monthly quotas: a request is counted before its work, so that concurrent requests cannot pass the limit, and given back only
//! if the work came to nothing. Standing quotas: the feature counts its rows while the user's row is locked.

use std::collections::HashMap;

use chrono::TimeDelta;
use http::HeaderMap;

use super::Quota;
use super::config::Settings;
use super::model::{Month, UserPlan};
use super::plans::{Limits, Plan, UNLIMITED};
use super::store::{self, Counter, Usage};
use crate::app::App;
use crate::app::feature::Removed;
use crate::platform::actor::CurrentUser;
use crate::platform::db::{Executor, Tx};
use crate::platform::error::{Error, Result};
use crate::platform::http::quota_headers::QuotaState;
use crate::platform::id::UserId;

/// Time that counters are kept past the end of their month.
const KEEP: TimeDelta = TimeDelta::days(1);

/// One counted request of a user. Dropped, it stays counted.
#[derive(Debug)]
#[must_use = "the headers of the quota belong on the answer"]
pub struct Reservation(
    /// `None` where plan limits are off, and for impersonated requests.
    Option<Reserved>,
);

#[derive(Debug)]
struct Reserved {
    user: UserId,
    quota: Quota,
    month: Month,
    usage: Usage,
}

/// The user was erased after the request was authenticated.
const GONE: Error = Error::Unauthenticated("Invalid token");

/// Whether the quotas of plans are enforced.
pub fn are_enforced(app: &App) -> bool {
    app.config.feature::<Settings>().is_none_or(|settings| settings.enabled)
}

/// Returns the plan that counts for a user, whether quotas are enforced or not; the free plan for an unknown user.
pub async fn plan_of(on: impl Into<Executor<'_>>, user: &UserId) -> Result<UserPlan> {
    Ok(plans_of(on, &[user]).await?.remove(user).unwrap_or_else(|| Plan::named(None).into()))
}

/// As [`plan_of`], for several users; unknown ones are left out.
pub async fn plans_of(on: impl Into<Executor<'_>>, users: &[&UserId]) -> Result<HashMap<UserId, UserPlan>> {
    let stored = store::plans(on, users).await?;
    Ok(stored.into_iter().map(|(user, name)| (user, Plan::named(name.as_deref()).into())).collect())
}

/// Counts one request of the user, or fails with [`Error::PlanLimit`] if the quota of their plan is used up. The last check
/// before the work: whatever fails earlier must not count. A request of an administrator who impersonates the user uses no quota.
pub async fn reserve(app: &App, user: &CurrentUser, quota: Quota) -> Result<Reservation> {
    if !are_enforced(app) || user.account().is_none() {
        return Ok(Reservation(None));
    }
    let (month, limits) = (Month::of(app.clock.now()), Limits::of(quota));
    let counter = Counter { user: &user.id, feature: quota.name(), period: &month.to_string() };
    if let Some(usage) = store::reserve(&app.db, &counter, &limits).await? {
        return Ok(Reservation(Some(Reserved { user: user.id.clone(), quota, month, usage })));
    }
    let (plan, used) = store::usage(&app.db, &counter).await?.ok_or(GONE)?;
    let limit = Plan::named(plan.as_deref()).limit(quota);
    // Another request may have given back since: the limit was reached when this one was refused.
    Err(Error::PlanLimit { feature: quota.name(), limit, used: used.max(limit), resets_at: Some(month.end()) })
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
            QuotaState { limit: usage.last_limit, used: usage.used, resets_at: Some(month.end()) }.set_headers(headers);
        }
    }
}

/// What the plan of a user allows of a standing quota. What is counted is whole: projects, or bytes of storage.
#[derive(Debug)]
#[must_use = "nothing is checked before `admit`"]
pub struct Allowance {
    quota: Quota,
    limit: i64,
}

/// Locks the user's row until the transaction ends, and returns what their plan allows. Until then other transactions that ask
/// for the same user wait, on every instance: what the caller counts now cannot change. `None` where plan limits are off;
/// nothing is locked then. An impersonated request asks as well, because its rows are the user's.
pub async fn standing(app: &App, tx: &mut Tx, user: &UserId, quota: Quota) -> Result<Option<Allowance>> {
    if !are_enforced(app) {
        return Ok(None);
    }
    let (plan,) = store::lock_plan(&app.db, tx, user).await?.ok_or(GONE)?;
    Ok(Some(Allowance { quota, limit: Plan::named(plan.as_deref()).limit(quota) }))
}

impl Allowance {
    /// Whether there is a limit. Without one, nothing has to be counted.
    pub fn is_limited(&self) -> bool {
        self.limit != UNLIMITED
    }

    /// Admits `wanted` more than the `used` ones, or fails with [`Error::PlanLimit`]. Returns the state of the quota with them.
    pub fn admit(self, used: i64, wanted: i64) -> Result<QuotaState> {
        // In units of the limit, begun ones count as whole: a total fits if and only if its whole units do.
        let whole = |count: i64| count.div_euclid(self.quota.unit()) + i64::from(count.rem_euclid(self.quota.unit()) > 0);
        let total = whole(used.saturating_add(wanted));
        if self.is_limited() && total > self.limit {
            return Err(Error::PlanLimit { feature: self.quota.name(), limit: self.limit, used: whole(used), resets_at: None });
        }
        Ok(QuotaState { limit: self.limit, used: total, resets_at: None })
    }
}

/// Removes a bounded number of counters of past months.
pub async fn sweep(app: &App) -> Result<Removed> {
    let oldest = Month::of(app.clock.now() - KEEP);
    Ok(Removed::records(store::sweep(&app.db, &oldest.to_string()).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_admitted_by_the_byte_and_shown_in_whole_mib() {
        const MIB: i64 = 1 << 20;
        for (used, wanted, outcome) in [
            (0, 1, Ok(1)),
            (0, 40 * MIB, Ok(40)),
            (0, 40 * MIB + 1, Ok(41)),
            (0, 100 * MIB, Ok(100)),
            (1, 100 * MIB - 1, Ok(100)),
            (1, 100 * MIB, Err(1)),
            (99 * MIB + 1, MIB, Err(100)),
            (250 * MIB, 1, Err(250)),
            (i64::MAX, i64::MAX, Err(1 << 43)),
        ] {
            let admitted = Allowance { quota: Quota::StorageMb, limit: 100 }.admit(used, wanted);
            let shown = match admitted {
                Ok(state) => Ok(state.used),
                Err(Error::PlanLimit { used, limit: 100, resets_at: None, feature: "storage_mb" }) => Err(used),
                Err(other) => panic!("{other:?}"),
            };
            assert_eq!(shown, outcome, "{used} + {wanted}");
        }
    }

    #[test]
    fn limit_zero_refuses_and_no_limit_admits() {
        let admit = |limit, used| Allowance { quota: Quota::Projects, limit }.admit(used, 1).map(|state| (state.limit, state.used));
        assert!(matches!(admit(0, 0), Err(Error::PlanLimit { limit: 0, used: 0, .. })));
        assert_eq!(admit(1, 0).unwrap(), (1, 1));
        assert_eq!(admit(UNLIMITED, 7).unwrap(), (UNLIMITED, 8));
    }
}
