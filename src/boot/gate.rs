//! Admission control: the checks before a handler runs, in the order that the contract fixes: body size, token, rate limit,
//! 401, account and role (403), same origin. Developers' pages: client and host (403).

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tower::Service;

use super::route_state::{RouteState, call};
use crate::app::App;
use crate::features::users;
use crate::platform::auth::{Claims, Refusal, Role};
use crate::platform::error::{Error, Result};
use crate::platform::http::RequestContext;
use crate::platform::http::policy::{Access, Credentials, Policy};
use crate::platform::middleware::csrf;
use crate::platform::middleware::developer::Developers;
use crate::platform::rate_limit::{Caller, Decision, KeyedBy};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The rate limiter's decision about a request, and the kind of its caller.
pub(super) type Counted = (Decision, &'static str);

/// Checks a request, then runs its handler.
pub(super) async fn admit<S>(
    app: &App,
    state: &RouteState,
    context: &Arc<RequestContext>,
    mut request: Request,
    handler: S,
    counted: &mut Option<Counted>,
) -> Result<Response>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let policy = &state.route.policy;
    let too_large = content_length(request.headers()).is_some_and(|length| length > state.body_limit);
    let by_caller = state.limit.is_some_and(|limit| limit.keyed_by == KeyedBy::Caller);
    let identity = if policy.access.is_guarded() || by_caller { Some(verify(app, policy, request.headers()).await) } else { None };
    if let Some(limit) = &state.limit {
        let caller = match &identity {
            Some(Ok(claims)) if by_caller => Caller::User(claims.subject.clone()),
            _ => Caller::address(context.client_ip),
        };
        *counted = Some((app.limiter.hit(limit, &caller, app.clock.now()).await, caller.kind()));
    }
    // Reported before the limit but still counted, so the limit headers are always set.
    if too_large {
        return Err(Error::TooLarge { limit: state.body_limit });
    }
    if let Some((Decision { allowed: false, retry_after, .. }, _)) = *counted {
        return Err(Error::RateLimited { retry_after });
    }
    if policy.access.is_guarded()
        && let Some(identity) = identity
    {
        authorize(app, policy.access, identity, context, &mut request).await?;
        if matches!(policy.credentials, Credentials::Cookie(_)) && !csrf::is_same_origin(request.method(), request.uri(), request.headers())
        {
            return Err(Error::Forbidden("The request does not come from this site"));
        }
    }
    if policy.access == Access::Developer {
        developers(app).check(&request, context.client_ip)?;
    }
    Ok(call(handler, request).await)
}

/// Who may open pages for developers.
fn developers(app: &App) -> Developers<'_> {
    let core = &app.config.core;
    Developers { remote: core.mailbox_remote, public_base_url: core.public_base_url.as_ref(), trusted_proxies: &core.trusted_proxies }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Verifies the token where the policy expects it.
async fn verify(app: &App, policy: &Policy, headers: &HeaderMap) -> std::result::Result<Arc<Claims>, Refusal> {
    match policy.credentials {
        Credentials::Bearer | Credentials::Query => app.verifier.verify_header(headers.get(header::AUTHORIZATION)).await,
        Credentials::Cookie(name) => match csrf::cookie(headers, name) {
            Some(token) => app.verifier.verify(token).await,
            None => Err(Refusal::Missing),
        },
    }
}

/// Admits active users with the required role, and passes the user to the handler.
async fn authorize(
    app: &App,
    access: Access,
    identity: std::result::Result<Arc<Claims>, Refusal>,
    context: &Arc<RequestContext>,
    request: &mut Request,
) -> Result<()> {
    let claims = identity.inspect_err(|refusal| {
        app.metrics.auth_failures.with_label_values(&[refusal.reason()]).inc();
        if let Refusal::Invalid(detail) = refusal {
            tracing::debug!(detail, "token refused");
        }
    })?;
    context.set_user_id(&claims.subject);
    let (user, loaded) = users::service::authenticate(app, claims, context).await?;
    for check in &app.access_checks {
        check.check(app, &user).await?;
    }
    if access == Access::Admin && user.role < Role::Admin {
        app.metrics.auth_failures.with_label_values(&["forbidden"]).inc();
        return Err(Error::Forbidden("Administrators only"));
    }
    let extensions = request.extensions_mut();
    if let Some(loaded) = loaded {
        extensions.insert(loaded);
    }
    extensions.insert(user);
    Ok(())
}

/// Sets the rate-limit headers.
pub(super) fn set_rate_limit_headers(headers: &mut HeaderMap, decision: Decision) {
    headers.insert(LIMIT, HeaderValue::from(decision.limit));
    headers.insert(REMAINING, HeaderValue::from(decision.remaining));
    headers.insert(RESET, HeaderValue::from(decision.reset));
}
