//! Warnings to users who have used most of a monthly quota: one for each threshold, and again after a change of plan.

use crate::app::App;
use crate::app::jobs::New;

use crate::features::quotas::model::{Month, UserPlan};
use crate::features::quotas::{Limits, Quota, service as quotas};
use crate::features::usage::config::Settings;
use crate::features::usage::jobs::WarnOfUsage;
use crate::features::usage::store::flush::{self as store, Near, Sum};
use crate::platform::config::Choice as _;
use crate::platform::error::Result;
use crate::platform::usage::Metric;

/// Thresholds in percent, the highest first.
const THRESHOLDS: [i64; 2] = [100, 80];

/// A metric that plans limit by month.
struct Limited {
    metric: Metric,
    quota: Quota,
    /// The limit of a plan; `None` if it has none.
    limit: fn(&UserPlan) -> Option<i64>,
}

static LIMITED: [Limited; 2] = [
    Limited { metric: Metric::ApiRequests, quota: Quota::ApiCalls, limit: |plan| plan.api_calls },
    Limited { metric: Metric::AiRequests, quota: Quota::AiRequests, limit: |plan| plan.ai_requests },
];

/// Warns the users whose new quantities are near to a limit, or above it. A failure is logged: the next use leads here again.
pub async fn warn(app: &App, sums: &[Sum]) {
    if !app.settings::<Settings>().warnings || !quotas::are_enforced(app) {
        return;
    }
    if let Err(error) = try_to_warn(app, sums).await {
        tracing::warn!(%error, "users could not be warned of their quotas");
    }
}

async fn try_to_warn(app: &App, sums: &[Sum]) -> Result<()> {
    let month = Month::of(app.clock.now());
    let of_month = sums.iter().filter(|sum| sum.period_type == "monthly" && sum.period_start == month.start());
    let candidates: Vec<(&Sum, &Limited)> = of_month.filter_map(|sum| Some((sum, Limited::near(sum)?))).collect();
    if candidates.is_empty() {
        return Ok(());
    }
    let users: Vec<_> = candidates.iter().map(|(sum, _)| &sum.user_id).collect();
    let plans = quotas::plans_of(&app.db, &users).await?;
    let near: Vec<Near<'_>> = candidates
        .into_iter()
        .filter_map(|(sum, limited)| {
            let plan = plans.get(&sum.user_id)?;
            let threshold = threshold(sum.quantity, (limited.limit)(plan)?)?;
            Some(Near { user_id: &sum.user_id, metric: &sum.metric, period: month.to_string(), plan: plan.name, threshold })
        })
        .collect();
    if near.is_empty() {
        return Ok(());
    }
    crate::transaction!(app.db, |tx| {
        for (user_id, metric) in store::warn(&mut *tx, &near).await? {
            let Some(near) = near.iter().find(|near| *near.user_id == user_id && near.metric == metric) else { continue };
            let owner_id = Some(user_id.clone());
            let job = WarnOfUsage { user_id, metric, period: near.period.clone(), plan: near.plan.to_owned(), threshold: near.threshold };
            app.jobs.enqueue(&mut *tx, &job, New { owner_id, ..New::default() }).await?;
        }
        Ok(())
    })
}

impl Limited {
    /// The metric of a quantity that is near to the lowest limit of any plan; spares most users the look at their plan.
    fn near(sum: &Sum) -> Option<&'static Self> {
        let limited = LIMITED.iter().find(|limited| limited.metric.name() == sum.metric)?;
        let lowest = Limits::of(limited.quota).by_plan.into_values().filter(|limit| *limit > 0).min()?;
        threshold(sum.quantity, lowest).map(|_| limited)
    }
}

/// The highest threshold that is reached.
fn threshold(quantity: i64, limit: i64) -> Option<i64> {
    (limit > 0).then(|| THRESHOLDS.into_iter().find(|percent| quantity.saturating_mul(100) >= limit.saturating_mul(*percent))).flatten()
}
