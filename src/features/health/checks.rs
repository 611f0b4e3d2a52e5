//! The checks of readiness, each with a time limit, and the status that follows from them.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use crate::app::App;
use crate::platform::db;
use crate::platform::http::Json;
use crate::platform::middleware::errors::OwnBody;
use crate::platform::redis::{self, Redis};

/// Time limit of each check.
pub const CHECK: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadinessStatus {
    Healthy,
    Degraded,
    Unhealthy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComponentStatus {
    Healthy,
    Unhealthy,
    NotConfigured,
}

/// The result of a check.
#[derive(Debug, Clone, Copy)]
pub struct Checked {
    pub status: ComponentStatus,
    /// Fixed text, without host, user or details of the driver.
    pub error: Option<&'static str>,
    /// Time of the answer, if there was one.
    pub latency: Option<Duration>,
}

pub async fn database(app: &App) -> Checked {
    let started = Instant::now();
    let health = timeout_at(started + CHECK, app.db.health()).await.unwrap_or(db::Health::Unreachable);
    let (status, error) = match health {
        db::Health::Healthy => (ComponentStatus::Healthy, None),
        db::Health::ReadOnly => (ComponentStatus::Unhealthy, Some("database takes no writes")),
        db::Health::Unreachable => (ComponentStatus::Unhealthy, Some("database is unreachable")),
    };
    Checked { status, error, latency: (health != db::Health::Unreachable).then(|| started.elapsed()) }
}

pub async fn redis(app: &App) -> Checked {
    let started = Instant::now();
    match timeout_at(started + CHECK, Redis::health(app.redis.as_ref())).await {
        Ok(redis::Health::Healthy) => Checked { status: ComponentStatus::Healthy, error: None, latency: Some(started.elapsed()) },
        Ok(redis::Health::NotConfigured) => Checked { status: ComponentStatus::NotConfigured, error: None, latency: None },
        Ok(redis::Health::Unhealthy) | Err(_) => {
            Checked { status: ComponentStatus::Unhealthy, error: Some("redis is unreachable"), latency: None }
        }
    }
}

/// The status of the whole. Without Redis the service goes on, degraded.
pub fn status(app: &App, database: Checked, redis: Checked) -> ReadinessStatus {
    match (database.status, redis.status) {
        (ComponentStatus::Unhealthy, _) => ReadinessStatus::Unhealthy,
        _ if !app.phase.is_ready() => ReadinessStatus::Unhealthy,
        (_, ComponentStatus::Unhealthy) => ReadinessStatus::Degraded,
        _ => ReadinessStatus::Healthy,
    }
}

/// The answer: 503 with the same body if the status is unhealthy.
pub fn answer(status: ReadinessStatus, readiness: impl Serialize) -> Response {
    let mut response = Json(readiness).into_response();
    if status == ReadinessStatus::Unhealthy {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response.extensions_mut().insert(OwnBody);
    }
    response
}
