//! `/public/health` and `/public/health/ready` in version 2 of the API. Probes have no envelope.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::checks::{self, CHECK, Checked, ComponentStatus, ReadinessStatus};
use super::routes::LivenessStatus;
use crate::app::App;
use crate::platform::config::Choice;
use crate::platform::http::{Json, Version};

const VERSION: Version = Version::V2;

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "timestamp": "2026-01-10T12:00:00.123456Z", "version": "v2", "service": "OmniStack API", "uptime_seconds": 86400.25}))]
pub struct LivenessV2 {
    status: LivenessStatus,
    timestamp: DateTime<Utc>,
    #[schema(value_type = String)]
    version: Version,
    /// Name of the project.
    service: String,
    #[schema(minimum = 0)]
    uptime_seconds: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "timestamp": "2026-01-10T12:00:00.123456Z", "version": "v2", "service": "OmniStack API", "environment": "production", "uptime_seconds": 86400.25, "components": {
    "database": {"status": "healthy", "latency_ms": 0.74, "version": "16.4", "error": null}, "redis": {"status": "not_configured", "latency_ms": null, "version": null, "error": null}}}))]
struct ReadinessV2 {
    status: ReadinessStatus,
    timestamp: DateTime<Utc>,
    #[schema(value_type = String)]
    version: Version,
    /// Name of the project.
    service: String,
    /// `local`, `staging` or `production`.
    environment: &'static str,
    #[schema(minimum = 0)]
    uptime_seconds: f64,
    components: ReadinessComponentsV2,
}

#[derive(Serialize, ToSchema)]
struct ReadinessComponentsV2 {
    database: ReadinessComponentV2,
    redis: ReadinessComponentV2,
}

#[derive(Serialize, ToSchema)]
struct ReadinessComponentV2 {
    status: ComponentStatus,
    /// Null if the component did not answer.
    #[schema(required = true, minimum = 0)]
    latency_ms: Option<f64>,
    /// Version number of the server.
    #[schema(required = true)]
    version: Option<String>,
    #[schema(required = true)]
    error: Option<&'static str>,
}

impl ReadinessComponentV2 {
    fn of(Checked { status, error, latency }: Checked, version: Option<String>) -> Self {
        Self { status, latency_ms: latency.map(|latency| rounded(latency.as_secs_f64() * 1000.0)), version, error }
    }
}

/// Check liveness
///
/// The process answers. Touches no dependency.
#[utoipa::path(get, path = "/health", operation_id = "getHealthV2", tag = "health", responses((status = 200, body = LivenessV2)))]
pub async fn health(State(app): State<App>) -> Json<LivenessV2> {
    Json(LivenessV2 {
        status: LivenessStatus::Healthy,
        timestamp: app.clock.now(),
        version: VERSION,
        service: app.config.core.project_name.clone(),
        uptime_seconds: uptime(&app),
    })
}

/// Check readiness
///
/// 503 with the same body while the database is down or takes no writes, and from the stop signal on. Without Redis the service goes on, degraded.
#[utoipa::path(get, path = "/health/ready", operation_id = "getReadinessV2", tag = "health",
    responses((status = 200, body = ReadinessV2), (status = 503, body = ReadinessV2, description = "Not ready")))]
pub async fn ready(State(app): State<App>) -> Response {
    let database = async {
        let checked = checks::database(&app).await;
        let version = within_limit(checked, async { app.db.server_version().await.ok() }).await;
        (checked, version)
    };
    let redis = async {
        let checked = checks::redis(&app).await;
        let version = match &app.redis {
            Some(redis) => within_limit(checked, redis.server_version()).await,
            None => None,
        };
        (checked, version)
    };
    let ((database, database_version), (redis, redis_version)) = tokio::join!(database, redis);
    let status = checks::status(&app, database, redis);
    let core = &app.config.core;
    let readiness = ReadinessV2 {
        status,
        timestamp: app.clock.now(),
        version: VERSION,
        service: core.project_name.clone(),
        environment: core.environment.name(),
        uptime_seconds: uptime(&app),
        components: ReadinessComponentsV2 {
            database: ReadinessComponentV2::of(database, database_version),
            redis: ReadinessComponentV2::of(redis, redis_version),
        },
    };
    checks::answer(status, readiness)
}

/// Asks a component that answers for its version, in what is left of the check's time.
async fn within_limit(checked: Checked, version: impl Future<Output = Option<String>>) -> Option<String> {
    let left = CHECK.saturating_sub(checked.latency?);
    timeout(left, version).await.ok().flatten()
}

fn uptime(app: &App) -> f64 {
    let uptime: Duration = (app.clock.now() - app.started_at).to_std().unwrap_or_default();
    rounded(uptime.as_secs_f64())
}

/// Two decimals.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
