//! `/public/health` and `/public/health/ready`.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::app::{App, Routes};
use crate::platform::http::Json;
use crate::platform::http::route::Options;
use crate::platform::middleware::errors::OwnBody;
use crate::platform::redis::{self, Redis};

/// No check takes longer.
const CHECK: Duration = Duration::from_secs(2);

pub fn public() -> Routes {
    Routes::new().add_with(Options::probe(), routes!(health)).add_with(Options::probe(), routes!(ready))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Healthy,
    Degraded,
    Unhealthy,
    NotConfigured,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "timestamp": "2026-01-10T12:00:00.123456Z"}))]
struct Health {
    status: Status,
    timestamp: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "timestamp": "2026-01-10T12:00:00.123456Z", "components": {"database": {"status": "healthy"}, "redis": {"status": "not_configured"}}}))]
struct Readiness {
    status: Status,
    timestamp: DateTime<Utc>,
    components: Components,
}

#[derive(Serialize, ToSchema)]
struct Components {
    database: Component,
    redis: Component,
}

#[derive(Serialize, ToSchema)]
struct Component {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl Component {
    fn of(status: Status, error: &'static str) -> Self {
        Self { status, error: (status == Status::Unhealthy).then_some(error) }
    }
}

/// Liveness: the process answers. Touches no dependency.
#[utoipa::path(get, path = "/health", operation_id = "getHealth", tag = "health", responses((status = 200, body = Health)))]
async fn health(State(app): State<App>) -> Json<Health> {
    Json(Health { status: Status::Healthy, timestamp: app.clock.now() })
}

/// Readiness: the service should be sent requests.
///
/// 503 with the same body while the database is down, and from the stop signal on. Without Redis the
/// service works on, degraded.
#[utoipa::path(get, path = "/health/ready", operation_id = "getReadiness", tag = "health",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness, description = "Not ready")))]
async fn ready(State(app): State<App>) -> Response {
    let database = async { if matches!(timeout(CHECK, app.db.ping()).await, Ok(Ok(()))) { Status::Healthy } else { Status::Unhealthy } };
    let redis = async {
        match timeout(CHECK, Redis::health(app.redis.as_ref())).await {
            Ok(redis::Health::Healthy) => Status::Healthy,
            Ok(redis::Health::NotConfigured) => Status::NotConfigured,
            Ok(redis::Health::Unhealthy) | Err(_) => Status::Unhealthy,
        }
    };
    let (database, redis) = tokio::join!(database, redis);
    let status = match (database, redis) {
        (Status::Unhealthy, _) => Status::Unhealthy,
        _ if !app.phase.is_ready() => Status::Unhealthy,
        (_, Status::Unhealthy) => Status::Degraded,
        _ => Status::Healthy,
    };
    let components =
        Components { database: Component::of(database, "database is unreachable"), redis: Component::of(redis, "redis is unreachable") };
    let mut response = Json(Readiness { status, timestamp: app.clock.now(), components }).into_response();
    if status == Status::Unhealthy {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
        response.extensions_mut().insert(OwnBody);
    }
    response
}
