//! Rules for every endpoint: access, error format, headers, order of checks, and agreement with the OpenAPI document.

mod bodies;
mod breaking;
mod documented;
mod errors;
mod headers;
mod matrix;
mod openapi;
mod openapi_baseline;
mod order;
#[cfg(feature = "docs-ui")]
mod prefix;
mod versions;

use std::sync::Arc;

use http::Method;
use omnistack::boot::router;
use omnistack::platform::http::policy::{Access, Lifetime};
use omnistack::platform::http::{Route, Version};
use serde_json::Value;

pub use matrix::enforces_access_levels;
pub use openapi::PRODUCTION;

use crate::harness::{Call, Reply, TestApp};

/// The OpenAPI document of a version, with every route.
fn document(version: Version) -> Value {
    serde_json::to_value(router::api(&omnistack::features::all(), version, "Test")).unwrap()
}

/// The OpenAPI documents of all versions.
pub fn documents() -> Vec<Value> {
    Version::ALL.map(document).into()
}

/// The description of an operation.
fn described(route: &Route, method: &Method) -> Value {
    document(route.policy.version)["paths"][&route.template][method.as_str().to_lowercase()].take()
}

/// Every documented route with each of its methods.
fn every_call() -> Vec<(Arc<Route>, Method)> {
    calls_of(router::routes(&omnistack::features::all()))
}

/// The documented routes of this server, with each of their methods.
fn calls_at(t: &TestApp) -> Vec<(Arc<Route>, Method)> {
    calls_of(t.routes.clone())
}

fn calls_of(routes: Vec<Arc<Route>>) -> Vec<(Arc<Route>, Method)> {
    let each = |route: Arc<Route>| route.methods.clone().into_iter().map(move |method| (route.clone(), method));
    routes.into_iter().filter(|route| route.documented).flat_map(each).collect()
}

/// A path of the route for [`crate::harness::Client::call`], with an id that does not exist for each parameter.
fn path_of(route: &Route) -> String {
    let segments =
        route.template.split('/').map(|segment| if segment.starts_with('{') { "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d" } else { segment });
    format!("/{}", segments.collect::<Vec<_>>().join("/"))
}

fn is_guarded(route: &Route) -> bool {
    route.policy.access.is_guarded()
}

/// Whether the route answers with a stream of events that goes on as long as the client reads.
fn is_endless(route: &Route) -> bool {
    route.policy.access == Access::SelfVerifying && matches!(route.policy.lifetime, Lifetime::Stream { .. })
}

/// The answer without the body of a stream that does not end.
async fn head(call: Call) -> Reply {
    let response = call.open().await;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = if status.is_success() { Vec::new() } else { response.bytes().await.unwrap().to_vec() };
    Reply { status, headers, body }
}
