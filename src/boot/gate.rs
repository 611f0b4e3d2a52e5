//! The checks before a handler runs, in the order that the contract fixes: load, body size, identity, rate
//! limit, token (401), account and role (403); all of it under the route's deadline.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::features::{accounts, users};
use crate::platform::auth::{Claims, Refusal, Role};
use crate::platform::error::{Error, Result};
use crate::platform::http::{BodyLimit, Route, Zone};
use crate::platform::middleware::compress::Uncompressed;
use crate::platform::middleware::observe::ClientIp;
use crate::platform::rate_limit::{Caller, Decision};
use crate::platform::telemetry::context::RequestContext;
use crate::platform::telemetry::metrics::METRICS;

/// Requests in flight at most; more are refused at once rather than all of them getting slow.
const MAX_IN_FLIGHT: usize = 1024;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

#[derive(Clone)]
pub struct Gate {
    app: App,
    in_flight: Arc<Semaphore>,
}

impl Gate {
    pub fn new(app: &App) -> Self {
        Self { app: app.clone(), in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)) }
    }
}

pub async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<Arc<Route>>().cloned();
    let Some(route) = route.filter(|route| route.allows(request.method())) else { return next.run(request).await };
    let _place = match gate.in_flight.try_acquire() {
        Ok(place) => Some(place),
        Err(_) if route.options.shed => {
            return Error::Unavailable { message: "Too many requests in flight", retry_after: Some(1) }.into_response();
        }
        Err(_) => None,
    };
    let deadline = route.options.deadline.unwrap_or(gate.app.config.core.request_timeout);
    let mut counted = None;
    let answer = tokio::time::timeout(deadline, admit(&gate.app, &route, request, next, &mut counted)).await;
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.into_response(),
        Err(_) => Error::Unavailable { message: "The request took too long", retry_after: Some(1) }.into_response(),
    };
    if let Some(decision) = counted {
        tell(response.headers_mut(), decision);
    }
    if !route.options.compress {
        response.extensions_mut().insert(Uncompressed);
    }
    response
}

async fn admit(app: &App, route: &Route, mut request: Request, next: Next, counted: &mut Option<Decision>) -> Result<Response> {
    let limit = route.options.body_limit.unwrap_or(app.config.core.max_body_bytes);
    let too_large = content_length(request.headers()).is_some_and(|length| length > limit);
    request.extensions_mut().insert(BodyLimit(limit));
    if !route.options.limited && route.zone == Zone::Public {
        return if too_large { Err(Error::TooLarge { limit }) } else { Ok(next.run(request).await) };
    }
    let identity = app.verifier.verify_header(request.headers().get(header::AUTHORIZATION)).await;
    let ip = request.extensions().get::<ClientIp>().copied();
    if route.options.limited {
        *counted = count(app, route, ip, identity.as_ref().ok(), app.clock.now()).await;
    }
    // Told before the limit, but counted: each answer of a limited route says what is left.
    if too_large {
        return Err(Error::TooLarge { limit });
    }
    if let Some(Decision { allowed: false, retry_after, .. }) = *counted {
        return Err(Error::RateLimited { retry_after });
    }
    if route.zone != Zone::Public {
        let user = authorize(app, route.zone, identity).await?;
        request.extensions_mut().insert(user);
    }
    Ok(next.run(request).await)
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Counts the request against the budget of its verified user, else of its address.
async fn count(app: &App, route: &Route, ip: Option<ClientIp>, claims: Option<&Arc<Claims>>, now: DateTime<Utc>) -> Option<Decision> {
    let caller = match (claims, ip) {
        (Some(claims), _) => Caller::User(claims.subject.clone()),
        (None, Some(ip)) => Caller::address(ip.0),
        (None, None) => return None,
    };
    let kind = caller.kind();
    let decision = app.limiter.hit(route.class, caller, now).await?;
    if !decision.allowed {
        METRICS.rate_limit_hits.with_label_values(&[route.class.name(), &route.template, kind]).inc();
    }
    Some(decision)
}

/// The guard of the zones `app` and `admin`.
async fn authorize(app: &App, zone: Zone, identity: std::result::Result<Arc<Claims>, Refusal>) -> Result<users::extract::CurrentUser> {
    let claims = identity.inspect_err(|refusal| {
        METRICS.auth_failures.with_label_values(&[refusal.reason()]).inc();
        if let Refusal::Invalid(detail) = refusal {
            tracing::debug!(detail, "token refused");
        }
    })?;
    if let Some(context) = RequestContext::current() {
        context.set_user_id(claims.subject.clone());
    }
    let user = users::service::authenticate(app, claims).await?;
    accounts::service::check_session(app, &user.claims).await?;
    if zone == Zone::Admin && user.role < Role::Admin {
        METRICS.auth_failures.with_label_values(&["forbidden"]).inc();
        return Err(Error::Forbidden("Administrators only"));
    }
    Ok(user)
}

fn tell(headers: &mut HeaderMap, decision: Decision) {
    headers.insert(LIMIT, HeaderValue::from(decision.limit));
    headers.insert(REMAINING, HeaderValue::from(decision.remaining));
    headers.insert(RESET, HeaderValue::from(decision.reset));
}
