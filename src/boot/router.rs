//! The router: every endpoint of every feature, each within the middleware stack, and the OpenAPI document of each
//! version of the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::StatusCode;
use tower::Layer;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::{OpenApi, RefOr, Schema};

use super::openapi::{self, Documented};
use super::pipeline::{Pipeline, Shared};
use crate::app::{App, DynFeature};
use crate::platform::http::endpoints::{Endpoint, Endpoints, Handlers, methods};
use crate::platform::http::{Policy, Route, Version};

/// Everything made from the registered endpoints.
pub struct Built {
    pub router: Router,
    pub routes: Vec<Arc<Route>>,
    /// The document of each version.
    pub apis: Vec<(Version, OpenApi)>,
}

/// Endpoints and schemas collected by registration.
#[derive(Default)]
struct Collected {
    routes: Vec<(Arc<Route>, MethodRouter<App>)>,
    /// Names of schemas are unique among all versions.
    schemas: BTreeMap<String, RefOr<Schema>>,
    documents: BTreeMap<Version, Documented>,
}

impl Collected {
    fn of(features: &[&'static DynFeature], wanted: impl Fn(&Endpoint<App>) -> bool) -> Self {
        let mut collected = Self::default();
        for feature in features {
            collected.add(feature.name(), feature.endpoints(), &wanted);
        }
        collected
    }

    fn add(&mut self, feature: &'static str, endpoints: Endpoints<App>, wanted: impl Fn(&Endpoint<App>) -> bool) {
        for endpoint in endpoints {
            let wanted = wanted(&endpoint);
            let Endpoint { policy, handlers, .. } = endpoint;
            match handlers {
                Handlers::Documented((schemas, paths, router)) => {
                    self.documents.entry(policy.version).or_default().tags.extend(paths.paths.values().flat_map(tags));
                    if !wanted {
                        continue;
                    }
                    for (name, schema) in &schemas {
                        self.add_schema(policy.version, name, schema);
                    }
                    for (path, item) in paths.paths {
                        let template = format!("{}{path}", policy.prefix());
                        self.add_route(feature, template.clone(), methods(&item), policy, true, router.clone());
                        self.documents.entry(policy.version).or_default().paths.push((template, item));
                    }
                }
                Handlers::Page { .. } if !wanted => {}
                Handlers::Page { path, methods, router } => self.add_route(feature, path, methods, policy, false, router),
            }
        }
    }

    /// Panics if two types share a schema name: generated clients would confuse them.
    fn add_schema(&mut self, version: Version, name: &str, schema: &RefOr<Schema>) {
        let known = self.schemas.entry(name.to_owned()).or_insert_with(|| schema.clone());
        assert!(known == schema, "two types have the schema name {name}: give one of them another by #[schema(as = …)]");
        self.documents.entry(version).or_default().schemas.insert(name.to_owned(), schema.clone());
    }

    fn add_route(
        &mut self,
        feature: &'static str,
        template: String,
        methods: Vec<http::Method>,
        policy: Policy,
        documented: bool,
        router: MethodRouter<App>,
    ) {
        self.routes.push((Arc::new(Route { feature, template, methods, policy, documented }), router));
    }

    fn list(&self) -> Vec<Arc<Route>> {
        self.routes.iter().map(|(route, _)| route.clone()).collect()
    }

    fn document(&self, features: &[&'static DynFeature], version: Version, project_name: &str) -> OpenApi {
        let nothing = Documented::default();
        let described = self.documents.get(&version).unwrap_or(&nothing);
        let routes: Vec<_> = self.list().into_iter().filter(|route| route.documented && route.policy.version == version).collect();
        openapi::document(features, described, &routes, project_name)
    }
}

/// Every route, including those disabled by the configuration; for `omnistack routes` and the tests.
pub fn routes(features: &[&'static DynFeature]) -> Vec<Arc<Route>> {
    Collected::of(features, |_| true).list()
}

/// The document of every endpoint of a version, for `omnistack openapi`.
pub fn api(features: &[&'static DynFeature], version: Version, project_name: &str) -> OpenApi {
    Collected::of(features, |_| true).document(features, version, project_name)
}

/// The tags of a path's operations.
fn tags(item: &PathItem) -> impl Iterator<Item = String> + '_ {
    let operations = [&item.get, &item.post, &item.put, &item.patch, &item.delete];
    operations.into_iter().flatten().flat_map(|operation| operation.tags.iter().flatten().cloned())
}

/// Builds the whole service. Needs an [`axum::extract::ConnectInfo`] of the peer in each request.
pub fn build(app: &App) -> Built {
    let mut collected = Collected::of(&app.features, |endpoint| (endpoint.available)(app));
    let apis = Version::ALL.map(|version| {
        let mut api = collected.document(&app.features, version, &app.config.core.project_name);
        api.servers = openapi::servers(app.config.core.public_base_url.as_ref());
        (version, api)
    });
    collected.add("docs", openapi::endpoints(app, &apis), |_| true);
    #[cfg(feature = "docs-ui")]
    collected.add("docs", super::docs::endpoints(app), |_| true);
    let routes = collected.list();

    let shared = Shared::new(app, &routes);
    let mut router = Router::new();
    for (route, handlers) in collected.routes {
        // Panics if two handlers share path and method.
        router = router.route(&route.template, handlers.layer(Pipeline::of(&shared, &route)));
    }
    let not_found = tower::service_fn(|_: Request| async { Ok::<Response, _>(StatusCode::NOT_FOUND.into_response()) });
    let router = router.fallback_service(Pipeline::unmatched(&shared).layer(not_found)).with_state(app.clone());
    Built { router, routes, apis: apis.into() }
}
