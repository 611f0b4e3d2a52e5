//! `/app/usage/…`.

use axum::extract::State;

use super::params::{BreakdownQuery, DAYS, DailyQuery, OwnTrendsQuery, SummaryQuery};
use crate::app::App;
use crate::features::usage::model::{CurrentUsage, DailyUsage, MetricList, UsageBreakdown, UsageSummary, UsageTrends};
use crate::features::usage::service;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Json, Query};
use crate::platform::usage::Metric;

/// Sum up the own usage
#[utoipa::path(get, path = "/usage/summary", operation_id = "getUsageSummary", tag = "usage", params(SummaryQuery),
    responses((status = 200, body = UsageSummary)))]
pub async fn summary(State(app): State<App>, user: CurrentUser, Query(query): Query<SummaryQuery>) -> Result<Json<UsageSummary>> {
    Ok(Json(service::summary(&app, &user.id, query.days.unwrap_or(DAYS)).await?.into()))
}

/// Get own usage of this month
///
/// The UTC month so far, beside the limits of the plan.
#[utoipa::path(get, path = "/usage/current-period", operation_id = "getCurrentUsage", tag = "usage",
    responses((status = 200, body = CurrentUsage)))]
pub async fn current_period(State(app): State<App>, user: CurrentUser) -> Result<Json<CurrentUsage>> {
    Ok(Json(service::current(&app, &user.id).await?))
}

/// Get a trend of own usage
///
/// This UTC month so far against the whole month before.
#[utoipa::path(get, path = "/usage/trends", operation_id = "getUsageTrends", tag = "usage", params(OwnTrendsQuery),
    responses((status = 200, body = UsageTrends)))]
pub async fn trends(State(app): State<App>, user: CurrentUser, Query(query): Query<OwnTrendsQuery>) -> Result<Json<UsageTrends>> {
    Ok(Json(service::trend(&app, &user.id, query.metric.unwrap_or(Metric::ApiRequests)).await?.into()))
}

/// Get the own usage by day
#[utoipa::path(get, path = "/usage/daily", operation_id = "getDailyUsage", tag = "usage", params(DailyQuery),
    responses((status = 200, body = DailyUsage)))]
pub async fn daily(State(app): State<App>, user: CurrentUser, Query(query): Query<DailyQuery>) -> Result<Json<DailyUsage>> {
    Ok(Json(service::daily(&app, &user.id, query.metric, query.days.unwrap_or(DAYS)).await?))
}

/// Break the own usage down
#[utoipa::path(get, path = "/usage/breakdown", operation_id = "getUsageBreakdown", tag = "usage", params(BreakdownQuery),
    responses((status = 200, body = UsageBreakdown)))]
pub async fn breakdown(State(app): State<App>, user: CurrentUser, Query(query): Query<BreakdownQuery>) -> Result<Json<UsageBreakdown>> {
    let (window, total) = service::breakdown(&app, &user.id, query.metric, query.days.unwrap_or(DAYS)).await?;
    Ok(Json(UsageBreakdown::new(query.metric, window, total)))
}

/// List the metrics of usage
#[utoipa::path(get, path = "/usage/metrics", operation_id = "listUsageMetrics", tag = "usage", responses((status = 200, body = MetricList)))]
pub async fn metrics(_: CurrentUser) -> Json<MetricList> {
    Json(MetricList::all())
}
