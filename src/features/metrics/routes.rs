//! `/public/metrics` and `/public/metrics/health`.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::app::{App, Routes};
use crate::features::users;
use crate::platform::config::Choice;
use crate::platform::crypto;
use crate::platform::error::{Error, Result};
use crate::platform::http::Json;
use crate::platform::http::route::Options;
use crate::platform::telemetry::metrics::{CONTENT_TYPE, METRICS};

/// Counts from the database that take longer are left as they were.
const REFRESH: Duration = Duration::from_secs(2);

pub fn public() -> Routes {
    Routes::new().add_with(Options::probe(), routes!(metrics)).add_with(Options::probe(), routes!(metrics_health))
}

/// Prometheus metrics.
///
/// With `METRICS_TOKEN` set it is asked for as a bearer token; in production without one the page is 404.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "metrics",
    responses((status = 200, body = String, content_type = "text/plain", example = "app_info{name=\"OmniStack API\",environment=\"local\"} 1\n"),
        (status = 401), (status = 404)))]
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    match &app.config.telemetry.metrics_token {
        Some(token) if !presents(&headers, token) => return Err(Error::Unauthenticated("Not authenticated")),
        None if app.config.core.environment.is_production() => return Err(Error::NoRoute),
        _ => {}
    }
    METRICS.app_info.with_label_values(&[app.config.core.project_name.as_str(), app.config.core.environment.name()]).set(1);
    let (idle, active) = app.db.connections();
    METRICS.db_pool_connections.with_label_values(&["idle"]).set(idle.into());
    METRICS.db_pool_connections.with_label_values(&["active"]).set(active.into());
    // The pool's size is a limit: nothing ever overflows it.
    METRICS.db_pool_connections.with_label_values(&["overflow"]).set(0);
    METRICS.redis_connections.set(app.redis.as_ref().map_or(0, |redis| i64::try_from(redis.connections()).unwrap_or(i64::MAX)));
    METRICS.active_sessions.set(app.presence.count(app.clock.now()));
    // The page is most wanted when the database is down: it waits for none of this.
    let refreshed = tokio::time::timeout(REFRESH, refresh(&app)).await;
    if let Ok(Err(error)) = refreshed {
        tracing::debug!(cause = %error, "counts of users and jobs are not refreshed");
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], METRICS.render()?).into_response())
}

/// What is counted in the database.
async fn refresh(app: &App) -> Result<()> {
    let ((), waiting) = tokio::try_join!(users::service::refresh_gauges(app), app.jobs.waiting(&app.db))?;
    METRICS.background_job_queue_size.with_label_values(&["default"]).set(waiting);
    Ok(())
}

fn presents(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case("bearer") && crypto::same(given.as_bytes(), token.expose_secret().as_bytes())
    })
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "prometheus_available": true, "environment": "local"}))]
struct MetricsHealth {
    /// `healthy` or `unavailable`.
    status: &'static str,
    prometheus_available: bool,
    environment: &'static str,
}

/// Whether metrics can be had.
#[utoipa::path(get, path = "/metrics/health", operation_id = "getMetricsHealth", tag = "metrics", responses((status = 200, body = MetricsHealth)))]
async fn metrics_health(State(app): State<App>) -> Json<MetricsHealth> {
    let available = METRICS.render().is_ok();
    let status = if available { "healthy" } else { "unavailable" };
    Json(MetricsHealth { status, prometheus_available: available, environment: app.config.core.environment.name() })
}
