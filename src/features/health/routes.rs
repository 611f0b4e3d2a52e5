//! `/public/health` and `/public/health/ready`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::checks::{self, Checked, ComponentStatus, ReadinessStatus};
use crate::app::App;
use crate::platform::http::Json;
use crate::platform::outgoing::{AccountProblem, BreakerState, Outgoing, VendorState};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LivenessStatus {
    Healthy,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "timestamp": "2026-01-10T12:00:00.123456Z"}))]
pub struct Liveness {
    status: LivenessStatus,
    timestamp: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "timestamp": "2026-01-10T12:00:00.123456Z", "components": {"database": {"status": "healthy"}, "redis": {"status": "not_configured"}}}))]
struct Readiness {
    status: ReadinessStatus,
    timestamp: DateTime<Utc>,
    components: ReadinessComponents,
    /// Vendors with a circuit breaker that is not closed, with a problem of the account, or that limit us. They do not affect the
    /// status.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    vendors: BTreeMap<&'static str, ReadinessVendor>,
}

#[derive(Serialize, ToSchema)]
struct ReadinessComponents {
    database: ReadinessComponent,
    redis: ReadinessComponent,
}

#[derive(Serialize, ToSchema)]
struct ReadinessComponent {
    status: ComponentStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum VendorBreaker {
    HalfOpen,
    Open,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum VendorAccount {
    KeyRefused,
    Billing,
}

#[derive(Serialize, ToSchema)]
struct ReadinessVendor {
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<VendorBreaker>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<VendorAccount>,
    /// Number of models or other things that the vendor asked us not to call for a moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    cooling: Option<usize>,
}

/// The vendors with something to report.
fn vendors(outgoing: &Outgoing) -> BTreeMap<&'static str, ReadinessVendor> {
    let vendor = |state: VendorState| {
        let breaker = match state.breaker {
            BreakerState::Closed => None,
            BreakerState::HalfOpen => Some(VendorBreaker::HalfOpen),
            BreakerState::Open => Some(VendorBreaker::Open),
        };
        let account = state.account.map(|problem| match problem {
            AccountProblem::KeyRefused => VendorAccount::KeyRefused,
            AccountProblem::Billing => VendorAccount::Billing,
        });
        let cooling = (state.cooling > 0).then_some(state.cooling);
        let worth_telling = breaker.is_some() || account.is_some() || cooling.is_some();
        worth_telling.then_some((state.service, ReadinessVendor { breaker, account, cooling }))
    };
    outgoing.vendors().into_iter().filter_map(vendor).collect()
}

impl From<Checked> for ReadinessComponent {
    fn from(checked: Checked) -> Self {
        Self { status: checked.status, error: checked.error }
    }
}

/// Check liveness
///
/// The process answers. Touches no dependency.
#[utoipa::path(get, path = "/health", operation_id = "getHealth", tag = "health", responses((status = 200, body = Liveness)))]
pub async fn health(State(app): State<App>) -> Json<Liveness> {
    Json(Liveness { status: LivenessStatus::Healthy, timestamp: app.clock.now() })
}

/// Check readiness
///
/// 503 with the same body while the database is down or takes no writes, and from the stop signal on. Without Redis the service goes on, degraded.
/// Vendors that fail do not change the status: only the features that use them answer with an error.
#[utoipa::path(get, path = "/health/ready", operation_id = "getReadiness", tag = "health",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness, description = "Not ready")))]
pub async fn ready(State(app): State<App>) -> Response {
    let (database, redis) = tokio::join!(checks::database(&app), checks::redis(&app));
    let status = checks::status(&app, database, redis);
    let components = ReadinessComponents { database: database.into(), redis: redis.into() };
    checks::answer(status, Readiness { status, timestamp: app.clock.now(), components, vendors: vendors(&app.outgoing) })
}
