//! `/public/metrics` and `/public/metrics/health`.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use prometheus::{IntGauge, IntGaugeVec};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::platform::config::Choice;
use crate::platform::crypto;
use crate::platform::error::{Error, Result};
use crate::platform::http::Json;
use crate::platform::telemetry::metrics::{CONTENT_TYPE, Metrics};

/// Time limit of the counts in the database; on timeout the gauges keep their last values.
const REFRESH: Duration = Duration::from_secs(2);

/// Gauges that are updated when the page is rendered.
#[derive(Clone)]
pub struct PageState {
    db_connections: IntGaugeVec,
    redis_connections: IntGauge,
}

impl PageState {
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            db_connections: metrics.gauge("db_pool_connections", "Database connections by state", &["state"]),
            redis_connections: metrics.int_gauge("redis_connections", "Redis connections open"),
        }
    }

    fn refresh(&self, app: &App) {
        let (idle, active) = app.db.connections();
        self.db_connections.with_label_values(&["idle"]).set(idle.into());
        self.db_connections.with_label_values(&["active"]).set(active.into());
        // Always 0: the pool never exceeds its size.
        self.db_connections.with_label_values(&["overflow"]).set(0);
        self.redis_connections.set(app.redis.as_ref().map_or(0, |redis| i64::try_from(redis.connections()).unwrap_or(i64::MAX)));
    }
}

/// Get Prometheus metrics
///
/// With `METRICS_TOKEN` set, the token is required as a bearer token; in production without one the page is 404.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "metrics",
    responses((status = 200, body = String, content_type = "text/plain", example = "app_info{name=\"OmniStack API\",environment=\"local\"} 1\n"),
        (status = 401), (status = 404)))]
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    match &app.config.telemetry.metrics_token {
        Some(token) if !presents(&headers, token) => return Err(Error::Unauthenticated("Not authenticated")),
        None if app.config.core.environment.is_production() => return Err(Error::NoRoute),
        _ => {}
    }
    app.metrics.app_info.with_label_values(&[app.config.core.project_name.as_str(), app.config.core.environment.name()]).set(1);
    app.state::<PageState>().refresh(&app);
    // Limited in time, because the page must also work while the database is down.
    let refreshed = tokio::time::timeout(REFRESH, refresh(&app)).await;
    if let Ok(Err(error)) = refreshed {
        tracing::debug!(cause = %error, "gauges that are counted in the database are not refreshed");
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], app.metrics.render()?).into_response())
}

/// Refreshes the gauges that are counted in the database.
async fn refresh(app: &App) -> Result<()> {
    for feature in &app.features {
        feature.refresh_metrics(app).await?;
    }
    app.jobs.refresh_metrics(&app.db).await
}

fn presents(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case("bearer") && crypto::same(given.as_bytes(), token.expose_secret().as_bytes())
    })
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "prometheus_available": true, "environment": "local"}))]
pub struct MetricsHealth {
    /// `healthy` or `unavailable`.
    status: &'static str,
    prometheus_available: bool,
    environment: &'static str,
}

/// Check metrics
#[utoipa::path(get, path = "/metrics/health", operation_id = "getMetricsHealth", tag = "metrics", responses((status = 200, body = MetricsHealth)))]
pub async fn metrics_health(State(app): State<App>) -> Json<MetricsHealth> {
    let available = app.metrics.render().is_ok();
    let status = if available { "healthy" } else { "unavailable" };
    Json(MetricsHealth { status, prometheus_available: available, environment: app.config.core.environment.name() })
}
