//! `/admin/usage/…`. Users that do not exist have used nothing.

use axum::extract::State;

use super::params::{BreakdownQuery, DAYS, DailyQuery, SummaryQuery, TopQuery, TrendsQuery};
use crate::app::App;
use crate::features::usage::model::{MetricList, TopUsers, UserDailyUsage, UserUsageBreakdown, UserUsageSummary, UserUsageTrends};
use crate::features::usage::service;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Json, Path, Query};
use crate::platform::id::UserId;

/// Users of a top list without a parameter.
const TOP: i64 = 10;

/// List the metrics of usage
#[utoipa::path(get, path = "/usage/metrics", operation_id = "listUsageMetricsAsAdmin", tag = "admin", responses((status = 200, body = MetricList)))]
pub async fn metrics(_: CurrentUser) -> Json<MetricList> {
    Json(MetricList::all())
}

/// Sum up a user's usage
#[utoipa::path(get, path = "/usage/summary/{user_id}", operation_id = "getUserUsageSummary", tag = "admin",
    params(("user_id" = String, Path), SummaryQuery), responses((status = 200, body = UserUsageSummary)))]
pub async fn summary(
    State(app): State<App>,
    Path(user): Path<UserId>,
    Query(query): Query<SummaryQuery>,
) -> Result<Json<UserUsageSummary>> {
    Ok(Json(service::summary(&app, &user, query.days.unwrap_or(DAYS)).await?.into()))
}

/// Get a user's usage trend
///
/// This UTC month so far against the whole month before.
#[utoipa::path(get, path = "/usage/trends/{user_id}", operation_id = "getUserUsageTrends", tag = "admin",
    params(("user_id" = String, Path), TrendsQuery), responses((status = 200, body = UserUsageTrends)))]
pub async fn trends(State(app): State<App>, Path(user): Path<UserId>, Query(query): Query<TrendsQuery>) -> Result<Json<UserUsageTrends>> {
    let trend = service::trend(&app, &user, query.metric).await?;
    Ok(Json(UserUsageTrends::new(user, trend)))
}

/// Get a user's usage by day
#[utoipa::path(get, path = "/usage/daily/{user_id}", operation_id = "getUserDailyUsage", tag = "admin",
    params(("user_id" = String, Path), DailyQuery), responses((status = 200, body = UserDailyUsage)))]
pub async fn daily(State(app): State<App>, Path(user): Path<UserId>, Query(query): Query<DailyQuery>) -> Result<Json<UserDailyUsage>> {
    let daily = service::daily(&app, &user, query.metric, query.days.unwrap_or(DAYS)).await?;
    Ok(Json(UserDailyUsage::new(user, daily)))
}

/// Break a user's usage down
#[utoipa::path(get, path = "/usage/breakdown/{user_id}", operation_id = "getUserUsageBreakdown", tag = "admin",
    params(("user_id" = String, Path), BreakdownQuery), responses((status = 200, body = UserUsageBreakdown)))]
pub async fn breakdown(
    State(app): State<App>,
    Path(user_id): Path<UserId>,
    Query(query): Query<BreakdownQuery>,
) -> Result<Json<UserUsageBreakdown>> {
    let (metric, days) = (query.metric, query.days.unwrap_or(DAYS));
    let (window, total) = service::breakdown(&app, &user_id, metric, days).await?;
    let (period_start, period_end) = (window.start(), window.now);
    Ok(Json(UserUsageBreakdown { user_id, metric, total: total.total, period_start, period_end, breakdown: total.breakdown }))
}

/// List the users who used most
///
/// In this UTC month, largest first.
#[utoipa::path(get, path = "/usage/top-users", operation_id = "listTopUsers", tag = "admin", params(TopQuery),
    responses((status = 200, body = TopUsers)))]
pub async fn top_users(State(app): State<App>, Query(query): Query<TopQuery>) -> Result<Json<TopUsers>> {
    Ok(Json(service::top_users(&app, query.metric, query.limit.unwrap_or(TOP)).await?))
}
