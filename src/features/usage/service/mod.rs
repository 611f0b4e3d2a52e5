//! Figures of usage. All windows end now and are cut at UTC midnights, so figures of the same days agree.

pub mod flush;
pub mod warnings;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};

use super::config::Settings;
use super::model::{CurrentUsage, DailyUsage, Ranked, Summary, TopUsers, Total, Trend, Window, midnight, quotient};
use super::store;
use crate::app::App;
use crate::app::feature::{Removed, When};
use crate::features::quotas::model::Month;
use crate::features::quotas::service::plan_of;
use crate::platform::config::Choice as _;
use crate::platform::error::Result;
use crate::platform::id::UserId;
use crate::platform::usage::Metric;

/// Bytes of a megabyte in plans.
const MIB: i64 = 1 << 20;
/// Days of which the peak is shown.
const PEAK_DAYS: i64 = 30;
/// Time that ids of batches are kept: no batch is stored again after it.
const KEEP_BATCHES: TimeDelta = TimeDelta::days(1);

fn window(app: &App, days: i64) -> Window {
    Window { now: app.clock.now(), days }
}

/// First instant after today. Counts of later days come from an instance whose clock is ahead, and are seen on their day.
fn end_of_today(now: DateTime<Utc>) -> DateTime<Utc> {
    midnight(now.date_naive()) + TimeDelta::days(1)
}

pub async fn summary(app: &App, user: &UserId, days: i64) -> Result<Summary> {
    let window = window(app, days);
    let metrics = totals(app, user, None, window).await?.into_iter().filter(|(_, total)| total.total > 0).collect();
    Ok(Summary { user_id: user.clone(), window, metrics })
}

pub async fn breakdown(app: &App, user: &UserId, metric: Metric, days: i64) -> Result<(Window, Total)> {
    let window = window(app, days);
    let mut totals = totals(app, user, Some(metric.name()), window).await?;
    Ok((window, totals.remove(metric.name()).unwrap_or_default()))
}

async fn totals(app: &App, user: &UserId, metric: Option<&str>, window: Window) -> Result<BTreeMap<String, Total>> {
    let mut sums: BTreeMap<String, (i64, HashMap<String, i64>)> = BTreeMap::new();
    for day in store::days(&app.db, user, metric, window.start(), end_of_today(window.now)).await? {
        let (total, breakdown) = sums.entry(day.metric).or_default();
        *total = total.saturating_add(day.quantity);
        for (label, quantity) in day.breakdown.0 {
            let sum = breakdown.entry(label).or_default();
            *sum = sum.saturating_add(quantity);
        }
    }
    let total = |(total, breakdown)| Total { total, breakdown: Ranked::of(breakdown) };
    Ok(sums.into_iter().map(|(metric, sum)| (metric, total(sum))).collect())
}

pub async fn current(app: &App, user: &UserId) -> Result<CurrentUsage> {
    let now = app.clock.now();
    let month = Month::of(now);
    let (sums, plan) =
        tokio::try_join!(async { Ok(store::sums(&app.db, user, month.start(), end_of_today(now)).await?) }, plan_of(&app.db, user),)?;
    let mut stored = 0;
    for feature in &app.features {
        stored += feature.stored_bytes(app, user).await?;
    }
    let usage: BTreeMap<String, i64> = sums.into_iter().filter(|(_, quantity)| *quantity > 0).collect();
    let used = |metric: Metric| usage.get(metric.name()).copied().unwrap_or(0);
    let limited = [
        (Metric::ApiRequests, plan.api_calls, used(Metric::ApiRequests)),
        (Metric::AiRequests, plan.ai_requests, used(Metric::AiRequests)),
        (Metric::StorageBytes, plan.storage_mb.map(|limit| limit.saturating_mul(MIB)), stored),
    ];
    Ok(CurrentUsage {
        user_id: user.clone(),
        period_start: month.start(),
        period_end: month.end(),
        days_remaining: (month.end() - now).num_days(),
        plan: plan.name,
        limits: limited.iter().map(|(metric, limit, _)| (metric.name(), *limit)).collect(),
        usage_percent: limited
            .iter()
            .map(|(metric, limit, used)| (metric.name(), limit.map(|limit| quotient(*used, limit, 100.0))))
            .collect(),
        usage,
    })
}

pub async fn trend(app: &App, user: &UserId, metric: Metric) -> Result<Trend> {
    let recent = window(app, PEAK_DAYS);
    let (today, month) = (recent.now.date_naive(), Month::of(recent.now));
    let previous = month.previous();
    let from = previous.start().min(recent.start());
    let days = by_day(app, user, metric, from, recent.now).await?;
    let sum = |from: DateTime<Utc>, to: DateTime<Utc>| days.range(from.date_naive()..to.date_naive()).map(|(_, quantity)| quantity).sum();
    let (current, previous): (i64, i64) = (sum(month.start(), month.end()), sum(previous.start(), previous.end()));
    let growth_rate_percent = match (current, previous) {
        (0, 0) => 0.0,
        (_, 0) => 100.0,
        _ => quotient(current - previous, previous, 100.0),
    };
    let peak = days.range(recent.first()..).filter(|(_, quantity)| **quantity > 0);
    let peak = peak.max_by_key(|(day, quantity)| (**quantity, std::cmp::Reverse(**day)));
    let daily_average = quotient(current, today.day().into(), 1.0);
    Ok(Trend { metric, current, previous, growth_rate_percent, daily_average, peak: peak.map(|(day, quantity)| (*day, *quantity)) })
}

pub async fn daily(app: &App, user: &UserId, metric: Metric, days: i64) -> Result<DailyUsage> {
    let window = window(app, days);
    let used = by_day(app, user, metric, window.start(), window.now).await?;
    let daily_usage: BTreeMap<_, _> = window.each().map(|day| (day, used.get(&day).copied().unwrap_or(0))).collect();
    let total = daily_usage.values().sum();
    Ok(DailyUsage { metric, days, daily_usage, total, average: quotient(total, days, 1.0) })
}

/// The quantities of days on which something was used, from the first until now.
async fn by_day(app: &App, user: &UserId, metric: Metric, from: DateTime<Utc>, now: DateTime<Utc>) -> Result<BTreeMap<NaiveDate, i64>> {
    let days = store::quantities(&app.db, user, metric.name(), from, end_of_today(now)).await?;
    Ok(days.into_iter().map(|(start, quantity)| (start.date_naive(), quantity)).collect())
}

pub async fn top_users(app: &App, metric: Metric, limit: i64) -> Result<TopUsers> {
    let month = Month::of(app.clock.now());
    let users = store::top(&app.db, metric.name(), month.start(), limit).await?;
    Ok(TopUsers { metric, period: month.to_string(), users })
}

/// Removes a bounded number of records that are not kept any longer.
pub async fn sweep(app: &App, when: When) -> Result<Removed> {
    let now = app.clock.now();
    Ok(Removed::records(match when {
        When::Expired => {
            let month = Month::of(now).to_string();
            store::sweep_batches(&app.db, now - KEEP_BATCHES).await? + store::sweep_warnings(&app.db, &month).await?
        }
        When::Old => store::sweep_records(&app.db, midnight((now - app.settings::<Settings>().keep).date_naive())).await?,
    }))
}
