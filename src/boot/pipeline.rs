//! The middleware stack: everything that happens to a request around its handler, outermost first, as one tower layer.
//!
//! One layer instead of ten: each layer would box its future and clone its service for every request. The parts are plain
//! functions in `platform::middleware`; [`Pipeline::run`] is their order.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use ipnet::IpNet;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service};

use super::gate;
use super::route_state::{RouteState, call};
use crate::app::App;
use crate::platform::error::Error;
use crate::platform::http::context::{Line, Observation};
use crate::platform::http::policy::{Caching, Lifetime, Pool};
use crate::platform::http::recorder::{HttpMetrics, Recorder};
use crate::platform::http::shown_path::{PrivateSegments, ShownPath};
use crate::platform::http::{RequestContext, Route};
use crate::platform::middleware::body::{Patience, TrackedBody};
use crate::platform::middleware::client_ip::client_ip;
use crate::platform::middleware::compress::{self, compress};
use crate::platform::middleware::cors::{self, Cors};
use crate::platform::middleware::errors::Errors;
use crate::platform::middleware::headers::set_security_headers;
use crate::platform::middleware::panics;
use crate::platform::middleware::places::{Full, Places, SharedBody};
use crate::platform::middleware::request_id::{X_REQUEST_ID, request_id};

/// State shared by all routes of a server.
pub struct Shared {
    app: App,
    trusted_proxies: Vec<IpNet>,
    production: bool,
    cors: Cors,
    errors: Errors,
    places: Places,
    metrics: HttpMetrics,
    rate_limit_hits: prometheus::IntCounterVec,
    /// Metrics recorder for requests that match no route.
    unmatched: Recorder,
    /// What logs show of their paths.
    private: PrivateSegments,
}

impl Shared {
    /// Call once per application: it registers metrics.
    pub fn new(app: &App, routes: &[Arc<Route>]) -> Arc<Self> {
        let core = &app.config.core;
        let metrics = HttpMetrics::new(&app.metrics, &app.usage);
        Arc::new(Self {
            app: app.clone(),
            trusted_proxies: core.trusted_proxies.clone(),
            production: core.environment.is_production(),
            cors: Cors::new(&core.cors_origins),
            errors: Errors::new(&app.metrics, core.max_body_bytes),
            places: Places::default(),
            unmatched: Recorder::new(&metrics, "unmatched", false),
            private: PrivateSegments::of(routes.iter().map(Arc::as_ref)),
            rate_limit_hits: app.metrics.counter(
                "rate_limit_hits_total",
                "Requests refused by a rate limit",
                &["class", "endpoint", "client_type"],
            ),
            metrics,
        })
    }
}

impl Shared {
    /// Takes the memory of a response until it is written: its body, if it is in memory and its own, and its encoder.
    fn hold(&self, response: &Response, encoder: usize, context: &RequestContext) -> Result<(), Full> {
        let shared = response.extensions().get::<SharedBody>().is_some();
        let streamed = context.route.as_ref().is_some_and(|route| route.policy.pool == Pool::Transfers);
        let body = if shared || streamed { 0 } else { response.body().size_hint().exact().unwrap_or(0) };
        if let Some(memory) = self.places.hold(usize::try_from(body).unwrap_or(usize::MAX).saturating_add(encoder))? {
            // A second call changes nothing: a request has one response.
            let _ = context.memory.set(memory);
        }
        Ok(())
    }
}

/// The stack of one route, or of all unmatched requests.
#[derive(Clone)]
pub struct Pipeline {
    shared: Arc<Shared>,
    route: Option<Arc<RouteState>>,
}

impl Pipeline {
    /// For requests that match no route.
    pub fn unmatched(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), route: None }
    }

    pub fn of(shared: &Arc<Shared>, route: &Arc<Route>) -> Self {
        let state = RouteState::new(route, &shared.app.config, &shared.metrics);
        Self { shared: shared.clone(), route: Some(Arc::new(state)) }
    }

    /// Answers a request.
    async fn run<S>(self, mut request: Request, handler: S) -> Result<Response, Infallible>
    where
        S: Service<Request, Response = Response, Error = Infallible>,
    {
        let shared = &self.shared;
        let preflight = cors::is_preflight(&request);
        // A method that the route lacks gets the router's 405 without rate limits, as an unknown path gets its 404.
        let route = self.route.as_deref().filter(|state| !preflight && state.route.allows(request.method()));
        let started = Instant::now();
        let (id, id_header) = request_id(request.headers());
        let place = route.map_or(Ok(None), |state| shared.places.take(state.route.policy.pool));
        let full = place.is_err();
        let context = Arc::new(RequestContext {
            request_id: id,
            client_ip: client_ip(&request, &shared.trusted_proxies),
            route: route.map(|state| state.route.clone()),
            body_limit: route.map_or(0, |state| state.body_limit),
            user_id: OnceLock::new(),
            impersonated: AtomicBool::new(false),
            observation: self.observe(&request),
            place: place.unwrap_or_else(|Full| None),
            memory: OnceLock::new(),
        });
        request.extensions_mut().insert(context.clone());
        let origin = shared.cors.allowed(request.headers());
        let accept_encoding = request.headers().get(header::ACCEPT_ENCODING).cloned();
        let compresses = route.is_none_or(|state| state.route.policy.compresses());

        let mut response = {
            let work = pin!(async {
                context.log_start();
                if preflight {
                    return cors::preflight(request.headers(), origin.as_ref());
                }
                let response = match route {
                    Some(_) if full => too_many_requests(),
                    Some(state) => answer(shared, state, &context, request, handler, started).await,
                    None => call(handler, request).await,
                };
                let response = shared.errors.render(response, &context);
                let encoder = if compresses { compress::memory(accept_encoding.as_ref(), &response) } else { 0 };
                match shared.hold(&response, encoder, &context) {
                    Ok(()) => response,
                    Err(Full) => shared.errors.render(too_many_unread(), &context),
                }
            });
            context.clone().scope(work).await
        };

        if compresses {
            response = compress(accept_encoding, response).await;
        }
        let caching = route.map_or(Caching::Unspecified, |state| state.route.policy.cache);
        set_security_headers(response.headers_mut(), shared.production, caching);
        if !preflight {
            cors::set_headers(response.headers_mut(), origin.as_ref());
        }
        response.headers_mut().insert(X_REQUEST_ID, id_header);
        context.answered(response.status());
        if context.is_tracked() {
            response = response.map(|body| TrackedBody::wrap(body, patience(route, started), context));
        }
        Ok(response)
    }

    /// Starts recording the request, unless its route is not observed.
    fn observe(&self, request: &Request) -> Option<Observation> {
        let recorder = match self.route.as_deref() {
            Some(state) if !state.route.policy.observed => return None,
            Some(state) => &state.recorder,
            None => &self.shared.unmatched,
        };
        let line = tracing::enabled!(tracing::Level::WARN).then(|| {
            let agent = request.headers().get(header::USER_AGENT);
            let lasting = |state: &RouteState| !matches!(state.route.policy.lifetime, Lifetime::Deadline(_));
            Line {
                method: request.method().clone(),
                path: match self.route.as_deref() {
                    Some(state) if !state.route.policy.private.is_empty() => ShownPath::Text(recorder.endpoint().to_owned()),
                    Some(state) if lasting(state) => ShownPath::Text(request.uri().path().to_owned()),
                    Some(_) => ShownPath::Path(request.uri().clone()),
                    None => ShownPath::Text(self.shared.private.shown(request.uri().path())),
                },
                // Copied for sockets and streams, as the path: a part of the request's head would keep all of its 8 KiB.
                user_agent: match self.route.as_deref() {
                    Some(state) if lasting(state) => agent.and_then(|agent| HeaderValue::from_bytes(agent.as_bytes()).ok()),
                    _ => agent.cloned(),
                },
            }
        });
        Some(Observation::start(recorder.of(request.method()).clone(), line))
    }
}

/// Deadline of a response body.
fn patience(route: Option<&RouteState>, started: Instant) -> Patience {
    match route.map(|state| state.route.policy.lifetime) {
        Some(Lifetime::Deadline(_)) => Patience::Until(started + route.map_or(Duration::ZERO, |state| state.deadline)),
        Some(Lifetime::Stream { idle, .. }) => Patience::Idle(idle),
        Some(Lifetime::Socket) | None => Patience::Endless,
    }
}

/// Runs gate and handler within the route's deadline. A panic becomes a response, too.
async fn answer<S>(
    shared: &Shared,
    state: &RouteState,
    context: &Arc<RequestContext>,
    request: Request,
    handler: S,
    started: Instant,
) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let mut counted = None;
    let outcome = {
        // Pinned here, because each adapter would move the whole future.
        let work = pin!(gate::admit(&shared.app, state, context, request, handler, &mut counted));
        timeout_at(started + state.deadline, panics::catch(work)).await
    };
    let mut response = match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.into_response(),
        Err(_) => Error::Unavailable { message: "The request took too long", retry_after: Some(1) }.into_response(),
    };
    if let Some(counted) = counted {
        counted.set_headers(response.headers_mut());
        if let Some((class, caller)) = counted.refused_by() {
            shared.rate_limit_hits.with_label_values(&[class, &state.route.template, caller]).inc();
        }
    }
    response
}

fn too_many_unread() -> Response {
    Error::Unavailable { message: "Too many responses wait to be read", retry_after: Some(1) }.into_response()
}

fn too_many_requests() -> Response {
    Error::Unavailable { message: "Too many requests in flight", retry_after: Some(1) }.into_response()
}

impl<S> Layer<S> for Pipeline {
    type Service = Stack<S>;

    fn layer(&self, handler: S) -> Stack<S> {
        Stack { pipeline: self.clone(), handler }
    }
}

/// A handler within the stack.
#[derive(Clone)]
pub struct Stack<S> {
    pipeline: Pipeline,
    handler: S,
}

impl<S> Service<Request> for Stack<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.handler.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (pipeline, handler) = (self.pipeline.clone(), self.handler.clone());
        Box::pin(pipeline.run(request, handler))
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use axum::routing::get;
    use http::Method;

    use super::*;
    use crate::app::config::Config;
    use crate::platform::clock::Clock;
    use crate::platform::config::Env;
    use crate::platform::http::Policy;

    /// Size in bytes of the future that each request moves once into its box.
    const BUDGET: usize = 4096;

    #[tokio::test]
    async fn request_future_stays_within_its_budget() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let vars = [("DATABASE_URL", "sqlite::memory:"), ("SECRET_KEY", "a-service-secret-for-tests-of-32-characters")];
        let env = Env::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let features = crate::features::all();
        let config = Config::load(env, &features).map_err(|found| format!("{:?}", found.problems)).unwrap().config;
        let app = App::new(config, Clock::System, features).await.unwrap();
        let (template, methods) = ("/x".to_owned(), vec![Method::GET]);
        let route = Arc::new(Route { feature: "x", template, methods, policy: Policy::user(), documented: false });
        let handler = axum::routing::Router::new().route("/x", get(|| async {}));
        let future = Pipeline::of(&Shared::new(&app, &[]), &route).run(Request::default(), handler);
        assert!(size_of_val(&future) <= BUDGET, "{} bytes: box what is rare", size_of_val(&future));
    }
}
