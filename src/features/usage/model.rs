//! Views of usage, and the days that they are about.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::platform::config::Choice as _;
use crate::platform::id::UserId;
use crate::platform::usage::Metric;

/// Labels of a breakdown that users see.
const TOP: usize = 20;

/// The first instant of a day.
pub fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// The last days until now, today included.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub now: DateTime<Utc>,
    pub days: i64,
}

impl Window {
    pub fn first(self) -> NaiveDate {
        self.now.date_naive() - TimeDelta::days(self.days - 1)
    }

    pub fn start(self) -> DateTime<Utc> {
        midnight(self.first())
    }

    /// Each day, oldest first.
    pub fn each(self) -> impl Iterator<Item = NaiveDate> {
        self.first().iter_days().take(usize::try_from(self.days).unwrap_or(0))
    }
}

/// The quotient of two quantities, rounded to two decimals after it is multiplied; 0 for a divisor of 0.
#[expect(clippy::cast_precision_loss, reason = "a rounded figure, for people")]
pub fn quotient(dividend: i64, divisor: i64, factor: f64) -> f64 {
    if divisor == 0 { 0.0 } else { (dividend as f64 / divisor as f64 * factor * 100.0).round() / 100.0 }
}

/// Quantities by label, largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, ToSchema)]
#[schema(value_type = BTreeMap<String, i64>)]
pub struct Ranked(Vec<(String, i64)>);

impl Ranked {
    pub fn of(quantities: HashMap<String, i64>) -> Self {
        let mut all: Vec<_> = quantities.into_iter().collect();
        all.sort_unstable_by(|(a, some), (b, other)| other.cmp(some).then_with(|| a.cmp(b)));
        Self(all)
    }

    /// Keeps the first ones; returns the sum of the others.
    fn cut(&mut self, keep: usize) -> i64 {
        self.0.split_off(keep.min(self.0.len())).iter().map(|(_, quantity)| quantity).sum()
    }
}

impl Serialize for Ranked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (label, quantity) in &self.0 {
            map.serialize_entry(label, quantity)?;
        }
        map.end()
    }
}

/// A metric's total and its breakdown.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Total {
    pub total: i64,
    pub breakdown: Ranked,
}

/// What was used in the last days.
#[derive(Debug)]
pub struct Summary {
    pub user_id: UserId,
    pub window: Window,
    pub metrics: BTreeMap<String, Total>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": "user_1", "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-01-30T12:00:00Z", "days": 30,
    "metrics": {"api_requests": {"total": 3, "breakdown": {"method:GET": 3, "endpoint:/api/v1/app/users/me": 2}}}
}))]
pub struct UsageSummary {
    pub user_id: UserId,
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    pub days: i64,
    /// Only metrics above 0.
    pub metrics: BTreeMap<String, Total>,
}

impl From<Summary> for UsageSummary {
    fn from(Summary { user_id, window, metrics }: Summary) -> Self {
        Self { user_id, period_start: window.start(), period_end: window.now, days: window.days, metrics }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": "user_1", "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-01-30T12:00:00Z",
    "metrics": {"file_uploads": {"total": 1, "breakdown": {"file_type:image/png": 1}}}
}))]
pub struct UserUsageSummary {
    pub user_id: UserId,
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    /// Only metrics above 0.
    pub metrics: BTreeMap<String, Total>,
}

impl From<Summary> for UserUsageSummary {
    fn from(Summary { user_id, window, metrics }: Summary) -> Self {
        Self { user_id, period_start: window.start(), period_end: window.now, metrics }
    }
}

/// Usage of the month so far, beside the limits of the plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": "user_1", "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-02-01T00:00:00Z", "days_remaining": 12,
    "usage": {"api_requests": 250}, "plan": "free",
    "limits": {"api_requests": 1000, "ai_requests": 50, "storage_bytes": 104_857_600},
    "usage_percent": {"api_requests": 25.0, "ai_requests": 0.0, "storage_bytes": 0.0}
}))]
pub struct CurrentUsage {
    pub user_id: UserId,
    /// First instant of the UTC month.
    pub period_start: DateTime<Utc>,
    /// First instant of the next month.
    pub period_end: DateTime<Utc>,
    /// Whole days.
    pub days_remaining: i64,
    /// Only metrics above 0.
    pub usage: BTreeMap<String, i64>,
    pub plan: &'static str,
    /// By metric; null is no limit.
    pub limits: BTreeMap<&'static str, Option<i64>>,
    /// Of the limits; null where there is none. For `storage_bytes`: of what is stored now.
    pub usage_percent: BTreeMap<&'static str, Option<f64>>,
}

/// How a metric develops.
#[derive(Debug)]
pub struct Trend {
    pub metric: Metric,
    /// This month so far, and the whole month before.
    pub current: i64,
    pub previous: i64,
    pub growth_rate_percent: f64,
    pub daily_average: f64,
    /// Of the last 30 days, with its quantity.
    pub peak: Option<(NaiveDate, i64)>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "metric": "api_requests", "current_period_total": 120, "previous_period_total": 100, "growth_rate_percent": 20.0,
    "daily_average": 8.0, "peak_day": "2026-01-12", "peak_value": 31
}))]
pub struct UsageTrends {
    #[schema(inline)]
    pub metric: Metric,
    /// This UTC month so far.
    pub current_period_total: i64,
    /// The whole month before.
    pub previous_period_total: i64,
    pub growth_rate_percent: f64,
    pub daily_average: f64,
    /// The day of the last 30 on which most was used.
    #[schema(required = true)]
    pub peak_day: Option<NaiveDate>,
    pub peak_value: i64,
}

impl From<Trend> for UsageTrends {
    fn from(trend: Trend) -> Self {
        Self {
            metric: trend.metric,
            current_period_total: trend.current,
            previous_period_total: trend.previous,
            growth_rate_percent: trend.growth_rate_percent,
            daily_average: trend.daily_average,
            peak_day: trend.peak.map(|(day, _)| day),
            peak_value: trend.peak.map_or(0, |(_, quantity)| quantity),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": "user_1", "metric": "api_requests", "current_period": 120, "previous_period": 100, "growth_rate_percent": 20.0,
    "daily_average": 8.0, "peak_day": "2026-01-12", "peak_value": 31
}))]
pub struct UserUsageTrends {
    pub user_id: UserId,
    #[schema(inline)]
    pub metric: Metric,
    /// This UTC month so far.
    pub current_period: i64,
    /// The whole month before.
    pub previous_period: i64,
    pub growth_rate_percent: f64,
    pub daily_average: f64,
    /// The day of the last 30 on which most was used.
    #[schema(required = true)]
    pub peak_day: Option<NaiveDate>,
    pub peak_value: i64,
}

impl UserUsageTrends {
    pub fn new(user_id: UserId, trend: Trend) -> Self {
        let own = UsageTrends::from(trend);
        Self {
            user_id,
            metric: own.metric,
            current_period: own.current_period_total,
            previous_period: own.previous_period_total,
            growth_rate_percent: own.growth_rate_percent,
            daily_average: own.daily_average,
            peak_day: own.peak_day,
            peak_value: own.peak_value,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "metric": "api_requests", "days": 2, "daily_usage": {"2026-01-11": 4, "2026-01-12": 3}, "total": 7, "average": 3.5
}))]
pub struct DailyUsage {
    #[schema(inline)]
    pub metric: Metric,
    pub days: i64,
    /// By day, oldest first, zeros included.
    pub daily_usage: BTreeMap<NaiveDate, i64>,
    pub total: i64,
    pub average: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": "user_1", "metric": "api_requests", "days": 2, "daily_usage": {"2026-01-11": 4, "2026-01-12": 3}, "total": 7
}))]
pub struct UserDailyUsage {
    pub user_id: UserId,
    #[schema(inline)]
    pub metric: Metric,
    pub days: i64,
    /// By day, oldest first, zeros included.
    pub daily_usage: BTreeMap<NaiveDate, i64>,
    pub total: i64,
}

impl UserDailyUsage {
    pub fn new(user_id: UserId, own: DailyUsage) -> Self {
        Self { user_id, metric: own.metric, days: own.days, daily_usage: own.daily_usage, total: own.total }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "metric": "api_requests", "total": 7, "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-01-30T12:00:00Z",
    "breakdown": {"method:GET": 7, "endpoint:/api/v1/app/users/me": 7}, "other": 0
}))]
pub struct UsageBreakdown {
    #[schema(inline)]
    pub metric: Metric,
    pub total: i64,
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    /// The 20 largest. Labels overlap: a request has an endpoint and a method.
    pub breakdown: Ranked,
    /// The sum of all other labels.
    pub other: i64,
}

impl UsageBreakdown {
    pub fn new(metric: Metric, window: Window, total: Total) -> Self {
        let Total { total, mut breakdown } = total;
        let other = breakdown.cut(TOP);
        Self { metric, total, period_start: window.start(), period_end: window.now, breakdown, other }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": "user_1", "metric": "api_requests", "total": 7, "period_start": "2026-01-01T00:00:00Z",
    "period_end": "2026-01-30T12:00:00Z", "breakdown": {"method:GET": 7, "endpoint:/api/v1/app/users/me": 7}
}))]
pub struct UserUsageBreakdown {
    pub user_id: UserId,
    #[schema(inline)]
    pub metric: Metric,
    pub total: i64,
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    /// All labels, largest first.
    pub breakdown: Ranked,
}

/// The users who used most this month.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"metric": "api_requests", "period": "2026-01", "users": [{"user_id": "user_1", "usage": 120}]}))]
pub struct TopUsers {
    #[schema(inline)]
    pub metric: Metric,
    /// The UTC month.
    pub period: String,
    pub users: Vec<UserUsage>,
}

#[derive(Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct UserUsage {
    pub user_id: UserId,
    pub usage: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"metrics": [{"name": "api_requests", "description": "Total API requests made"}]}))]
pub struct MetricList {
    pub metrics: Vec<MetricInfo>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct MetricInfo {
    pub name: &'static str,
    pub description: &'static str,
}

impl MetricList {
    pub fn all() -> Self {
        let info = |(name, metric): &(&'static str, Metric)| MetricInfo { name, description: description(*metric) };
        Self { metrics: Metric::NAMES.iter().map(info).collect() }
    }
}

fn description(metric: Metric) -> &'static str {
    match metric {
        Metric::ApiRequests => "Total API requests made",
        Metric::AiTokens => "Total AI/LLM tokens consumed",
        Metric::AiRequests => "Number of AI completion requests",
        Metric::StorageBytes => "Storage space used in bytes",
        Metric::FileUploads => "Number of files uploaded",
        Metric::FileDownloads => "Number of files downloaded",
        Metric::WebsocketMessages => "WebSocket messages sent/received",
        Metric::BackgroundJobs => "Background jobs executed",
        Metric::EmailSent => "Emails sent",
    }
}
