//! Per-route state that does not change between requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use tower::Service;

use crate::app::config::Config;
use crate::platform::http::Route;
use crate::platform::http::policy::Area;
use crate::platform::http::recorder::{HttpMetrics, Recorder};
use crate::platform::rate_limit::Limits;

pub struct RouteState {
    pub route: Arc<Route>,
    pub limits: Option<Limits>,
    pub body_limit: usize,
    /// Deadline for the response head.
    pub deadline: Duration,
    pub recorder: Recorder,
}

impl RouteState {
    pub fn new(route: &Arc<Route>, config: &Config, metrics: &HttpMetrics) -> Self {
        let policy = &route.policy;
        Self {
            route: route.clone(),
            limits: policy.budget.and_then(|budget| config.rate_limit.limits(budget)),
            body_limit: policy.body_limit(config.core.max_body_bytes),
            deadline: policy.head_deadline(config.core.request_timeout),
            recorder: Recorder::new(metrics, &route.template, policy.access.is_guarded() && policy.area != Area::Public),
        }
    }
}

/// Calls a route's handler. Handlers of a router are always ready.
pub async fn call<S>(mut handler: S, request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    handler.call(request).await.unwrap_or_else(|never| match never {})
}
