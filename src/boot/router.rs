//! All routes of all features in their zones, under one middleware stack.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use tower::ServiceBuilder;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::{gate, openapi};
use crate::app::App;
use crate::app::feature::Feature;
use crate::features;
use crate::platform::auth::Provider;
use crate::platform::http::route::Options;
use crate::platform::http::{Route, Routes, Zone};
use crate::platform::middleware::cors::{Cors, cors};
use crate::platform::middleware::errors::{MaxBody, render_errors};
use crate::platform::middleware::headers::security_headers;
use crate::platform::middleware::observe::{Observer, observe};
use crate::platform::middleware::{catch_panic, compress};

/// Everything made from the registered routes.
pub struct Built {
    pub router: Router,
    pub routes: Vec<Arc<Route>>,
    pub api: OpenApi,
}

/// Collects the wanted routes of every feature. Two features with one path panic here, at the start.
fn collect(wanted: impl Fn(&Options) -> bool) -> (OpenApiRouter<App>, Vec<Arc<Route>>) {
    let mut router = OpenApiRouter::with_openapi(openapi::document());
    let mut records = Vec::new();
    for zone in [Zone::Public, Zone::App, Zone::Admin] {
        for feature in features::all() {
            for (mut handlers, options) in of_zone(&feature, zone).0.into_iter().filter(|(_, options)| wanted(options)) {
                // Registered under the whole path: axum's nesting would strip and match the prefix on each request.
                let relative = std::mem::take(&mut handlers.1.paths);
                handlers.1.paths = relative.into_iter().map(|(path, item)| (format!("{}{path}", zone.prefix()), item)).collect();
                records.extend(handlers.1.paths.iter().map(|(template, item)| Arc::new(Route::new(zone, template, item, options))));
                router = router.routes(handlers);
            }
        }
    }
    (router, records)
}

fn of_zone(feature: &Feature, zone: Zone) -> Routes<App> {
    match zone {
        Zone::Public => (feature.public)(),
        Zone::App => (feature.app)(),
        Zone::Admin => (feature.admin)(),
    }
}

/// All route records, for `omnistack routes` and the tests.
pub fn routes() -> Vec<Arc<Route>> {
    collect(|_| true).1
}

/// The document alone, for `omnistack openapi`.
pub fn api(project_name: &str) -> OpenApi {
    let (router, records) = collect(|_| true);
    openapi::complete(router.into_openapi(), &records, project_name)
}

/// The whole service. Needs a [`axum::extract::ConnectInfo`] of the peer in each request.
pub fn build(app: &App) -> Built {
    let own_accounts = app.config.auth.provider == Provider::Local;
    // What is not there for this provider answers, and is documented, as any path that is no route.
    let (collected, routes) = collect(|options| own_accounts || !options.own_accounts);
    let (router, api) = collected.split_for_parts();
    let core = &app.config.core;
    let api = openapi::complete(api, &routes, &core.project_name);
    let router = router.with_state(app.clone());
    #[cfg(feature = "docs-ui")]
    let router = router.merge(super::docs::pages(app, &api));
    #[cfg(not(feature = "docs-ui"))]
    let router = router.merge(openapi::page(app, &api));
    let router = pages(app).fold(router, |router, (path, page)| router.route(path, page));

    let router = with_middleware(app, router, &routes);
    Built { router, routes, api }
}

/// What features have beside the API.
fn pages(app: &App) -> impl Iterator<Item = (&'static str, MethodRouter)> {
    app.features.iter().flat_map(|feature| (feature.pages)(app))
}

/// Puts the whole middleware around a router. The records say which checks a route gets; one without a
/// record gets none.
///
/// Public, so that tests can see what becomes of handlers that misbehave as no feature's does.
pub fn with_middleware(app: &App, router: Router, routes: &[Arc<Route>]) -> Router {
    let core = &app.config.core;
    let observer = Observer {
        routes: routes
            .iter()
            .map(|route| (route.template.clone(), route.clone()))
            .chain(openapi::unobserved(core, pages(app).map(|(path, _)| path)))
            .collect::<HashMap<_, _>>(),
        trusted_proxies: core.trusted_proxies.clone(),
    };
    // Outermost first. `Router::layer` puts them behind the routing, so each can ask for the route's record;
    // a path or method that is not ours has none, and walks through to the router's own 404 or 405.
    router.layer(
        ServiceBuilder::new()
            // Request id, client address, log line, metrics: sees the final status of everything below.
            .layer(from_fn_with_state(Arc::new(observer), observe))
            // Before CORS, so that preflights carry them too.
            .layer(from_fn_with_state(core.environment, security_headers))
            // Before limits and tokens: preflights know neither; and around errors, which browsers must be able to read.
            .layer(from_fn_with_state(Cors::new(&core.cors_origins), cors))
            // Outside of the errors' bodies, so that they are compressed like all others.
            .layer(compress::layer())
            // Writes every error's body: of handlers, of the gate, of the router, of a panic.
            .layer(from_fn_with_state(MaxBody(core.max_body_bytes), render_errors))
            .layer(catch_panic::layer())
            // Load, deadline, body size, identity, rate limit, guard: the checks in the contract's order.
            .layer(from_fn_with_state(gate::Gate::new(app), gate::gate))
            // Once more around the handler alone, whose panics the gate then answers as any other error: with what is left of the limit.
            .layer(catch_panic::layer()),
    )
}
