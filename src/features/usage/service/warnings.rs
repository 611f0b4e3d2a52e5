//! Warnings to users who have used most of a monthly quota: one for each threshold, and again after a change of plan.

use crate::app::App;
use crate::app::jobs::New;

use crate::features::quotas::model::Month;
use crate::features::quotas::{Limits, Quota, service as quotas};
use crate::features::usage::config::Settings;
use crate::features::usage::jobs::WarnOfUsage;
use crate::features::usage::store::flush::{self as store, Near, Sum};
use crate::platform::config::Choice as _;
use crate::platform::error::Result;
use crate::platform::usage::Metric;

/// Thresholds in percent, the highest first.
const THRESHOLDS: [i64; 2] = [100, 80];
/// The metrics that plans limit by month.
const METRICS: [(Metric, Quota); 2] = [(Metric::ApiRequests, Quota::ApiCalls), (Metric::AiRequests, Quota::AiRequests)];

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
    let candidates: Vec<&Sum> = sums.iter().filter(|sum| sum.period_type == "monthly" && may_be_near(sum)).collect();
    let candidates: Vec<&Sum> = candidates.into_iter().filter(|sum| sum.period_start == month.start()).collect();
    if candidates.is_empty() {
        return Ok(());
    }
    let users: Vec<_> = candidates.iter().map(|sum| &sum.user_id).collect();
    let plans = quotas::plans_of(&app.db, &users).await?;
    let near: Vec<Near<'_>> = candidates
        .into_iter()
        .filter_map(|sum| {
            let plan = plans.get(&sum.user_id)?;
            let limit =
                METRICS.iter().find(|(metric, _)| metric.name() == sum.metric).and_then(|(metric, _)| super::monthly_limit(plan, *metric));
            let threshold = threshold(sum.quantity, limit?)?;
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

/// Whether the quantity is near to the lowest limit of any plan: spares most users the look at their plan.
fn may_be_near(sum: &Sum) -> bool {
    METRICS.iter().find(|(metric, _)| metric.name() == sum.metric).is_some_and(|(_, quota)| {
        let lowest = Limits::of(*quota).by_plan.into_values().filter(|limit| *limit > 0).min();
        lowest.is_some_and(|limit| threshold(sum.quantity, limit).is_some())
    })
}

/// The highest threshold that is reached.
fn threshold(quantity: i64, limit: i64) -> Option<i64> {
    (limit > 0).then(|| THRESHOLDS.into_iter().find(|percent| quantity.saturating_mul(100) >= limit.saturating_mul(*percent))).flatten()
}
