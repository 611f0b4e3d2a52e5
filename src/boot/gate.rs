//! Admission control: the checks before a handler runs, in the order that the contract fixes: body size, rate limits of the
//! address and of the route, token (401), account and role (403), same origin. Developers' pages: client and host (403).

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tower::Service;

use super::route_state::{RouteState, call};
use crate::app::App;
use crate::features::users;
use crate::platform::auth::{Claims, Presented, Refusal, Role};
use crate::platform::error::{Error, Result};
use crate::platform::http::RequestContext;
use crate::platform::http::policy::{Access, Credentials, Policy};
use crate::platform::middleware::csrf;
use crate::platform::middleware::developer::Developers;
use crate::platform::rate_limit::{Caller, Decision, KeyedBy, Limits, Verdict};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The rate limiter's verdict about a request, and what metrics say of it.
pub(super) struct Counted {
    verdict: Verdict,
    class: &'static str,
    caller: &'static str,
}

impl Counted {
    fn new(limits: &Limits, verdict: Verdict, caller: &Caller) -> Self {
        match verdict {
            Verdict::AddressRefused(_) => Self { verdict, class: limits.address.name, caller: "ip" },
            Verdict::Route(_) => Self { verdict, class: limits.route.name, caller: caller.kind() },
        }
    }

    fn decision(&self) -> Decision {
        match self.verdict {
            Verdict::AddressRefused(decision) | Verdict::Route(decision) => decision,
        }
    }

    /// The budget that refused the request, and the kind of its caller, if one did.
    pub fn refused_by(&self) -> Option<(&'static str, &'static str)> {
        (!self.decision().allowed).then_some((self.class, self.caller))
    }

    /// Sets the rate-limit headers. They are about the route's budget; a client cannot plan with that of its address, which it may
    /// share with others.
    pub fn set_headers(&self, headers: &mut HeaderMap) {
        let Verdict::Route(decision) = self.verdict else { return };
        headers.insert(LIMIT, HeaderValue::from(decision.limit));
        headers.insert(REMAINING, HeaderValue::from(decision.remaining));
        headers.insert(RESET, HeaderValue::from(decision.reset));
    }
}

/// The caller as a token says who it is.
type Identity = std::result::Result<Arc<Claims>, Refusal>;

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
    let by_caller = state.limits.is_some_and(|limits| limits.route.keyed_by == KeyedBy::Caller);
    let mut presented = (policy.access.is_guarded() || by_caller).then(|| present(app, policy, request.headers()));
    if let Some(limits) = &state.limits {
        *counted = Some(count(app, limits, context.client_ip, by_caller.then_some(&mut presented)).await);
    }
    // Reported before the limit but still counted, so the limit headers are always set.
    if too_large {
        return Err(Error::TooLarge { limit: state.body_limit });
    }
    if let Some(Decision { allowed: false, retry_after, .. }) = counted.as_ref().map(Counted::decision) {
        return Err(Error::RateLimited { retry_after });
    }
    if policy.access.is_guarded()
        && let Some(presented) = presented
    {
        let identity = app.verifier.identify(presented).await;
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

/// Counts the request against the budget of its address and that of its route. `presented` is the token of a request that is
/// counted by caller: a token that was not verified before is verified only if the address has budget left.
async fn count(app: &App, limits: &Limits, client: IpAddr, presented: Option<&mut Option<Presented>>) -> Counted {
    let (address, now) = (Caller::address(client), app.clock.now());
    let by = |identity: &Identity| identity.as_ref().map_or_else(|_| address.clone(), |claims| Caller::User(claims.subject.clone()));
    let caller = match presented {
        Some(Some(Presented::Known(identity))) => by(identity),
        Some(presented @ Some(Presented::Unverified(_))) => {
            // Boxed, because it is rare: otherwise every request's future would include its size.
            return Box::pin(async {
                let first = app.limiter.hit_address(limits, &address, now).await;
                if !first.allowed {
                    return Counted::new(limits, Verdict::AddressRefused(first), &address);
                }
                let identity = match presented.take() {
                    Some(token) => app.verifier.identify(token).await,
                    None => Err(Refusal::Missing),
                };
                let caller = by(&identity);
                *presented = Some(Presented::Known(identity));
                let second = app.limiter.hit(&limits.route, &caller, now).await;
                if !second.allowed {
                    app.limiter.give_back_address(limits, &address, now).await;
                }
                Counted::new(limits, Verdict::Route(second), &caller)
            })
            .await;
        }
        _ => address.clone(),
    };
    Counted::new(limits, app.limiter.admit(limits, &address, &caller, now).await, &caller)
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the token where the policy expects it.
fn present(app: &App, policy: &Policy, headers: &HeaderMap) -> Presented {
    match policy.credentials {
        Credentials::Bearer | Credentials::Query => app.verifier.present_header(headers.get(header::AUTHORIZATION)),
        Credentials::Cookie(name) => match csrf::cookie(headers, name) {
            Some(token) => app.verifier.present(token),
            None => Presented::Known(Err(Refusal::Missing)),
        },
    }
}

/// Admits active users with the required role, and passes the user to the handler.
async fn authorize(app: &App, access: Access, identity: Identity, context: &Arc<RequestContext>, request: &mut Request) -> Result<()> {
    let claims = identity.inspect_err(|refusal| {
        app.metrics.auth_failures.with_label_values(&[refusal.reason()]).inc();
        if let Refusal::Invalid(detail) = refusal {
            tracing::debug!(detail, "token refused");
        }
    })?;
    context.set_user_id(&claims.subject);
    let (user, loaded) = users::service::admit(app, claims, context).await?;
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
