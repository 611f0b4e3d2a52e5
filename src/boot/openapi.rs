//! The OpenAPI document: made from the handlers, then completed with what holds for every route of a zone
//! (security, error answers), so that no handler has to repeat it.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use utoipa::OpenApi as _;
use utoipa::ToSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::Components;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr};

use crate::app::config::Core;
use crate::platform::error::CODES;
use crate::platform::http::route::Options;
use crate::platform::http::{Route, Zone};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "OmniStack API", description = "Users, projects and what every product needs around them. Errors of every kind have one shape: `{\"error\": {code, message, details, request_id}}`."),
    components(schemas(ErrorBody)),
    tags(
        (name = "health", description = "Probes"),
        (name = "metrics", description = "For Prometheus"),
        (name = "auth", description = "Registering, logging in and staying logged in"),
        (name = "users", description = "The current user"),
        (name = "projects", description = "Own projects"),
        (name = "files", description = "Own files"),
        (name = "admin", description = "For administrators")
    )
)]
struct Document;

/// The body of every error.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used; the body is written by middleware::errors")]
struct ErrorBody {
    error: ErrorContent,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ErrorContent {
    /// A stable word for programs.
    code: String,
    /// For people.
    message: String,
    details: serde_json::Map<String, serde_json::Value>,
    /// As in the header `X-Request-ID`.
    request_id: Option<String>,
}

pub(super) fn document() -> OpenApi {
    Document::openapi()
}

/// Adds what follows from a route's zone and record. An error status that a handler names gets the body of all errors.
pub(super) fn complete(mut api: OpenApi, routes: &[Arc<Route>], project_name: &str) -> OpenApi {
    project_name.clone_into(&mut api.info.title);
    let bearer = SecurityScheme::Http(Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build());
    api.components.get_or_insert_with(Components::new).add_security_scheme("bearer", bearer);
    for route in routes {
        let Some(item) = api.paths.paths.get_mut(&route.template) else { continue };
        for operation in [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten() {
            complete_operation(operation, route);
        }
    }
    api
}

fn complete_operation(operation: &mut Operation, route: &Route) {
    let has_body = operation.request_body.is_some();
    // What stands in a path is never invalid: it names nothing, which is a 404.
    let can_be_invalid = |parameter: &RefOr<Parameter>| !matches!(parameter, RefOr::T(p) if p.parameter_in == ParameterIn::Path);
    let has_parameters = operation.parameters.iter().flatten().any(can_be_invalid);
    let by_id = route.template.contains('{');
    for (status, code, when) in CODES {
        let possible = match status {
            400 | 413 | 415 => has_body,
            // 409: at first sight of a user whose address another one has, on whichever route that is.
            401 | 403 | 409 => route.zone != Zone::Public,
            404 => by_id,
            422 => has_body || has_parameters,
            429 => route.options.limited,
            500 => true,
            503 => route.options.shed,
            _ => false,
        };
        let declared = operation.responses.responses.get(&status.to_string());
        let bare = matches!(declared, Some(RefOr::T(response)) if response.content.is_empty());
        if bare || (possible && declared.is_none()) {
            let example =
                json!({"error": {"code": code, "message": when, "details": {}, "request_id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d"}});
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).example(Some(example)).build();
            let response = ResponseBuilder::new().description(format!("`{code}`: {when}")).content("application/json", content).build();
            operation.responses.responses.insert(status.to_string(), RefOr::T(response));
        }
    }
    for (status, response) in &mut operation.responses.responses {
        // OpenAPI 3.1 wants a description of each; utoipa leaves it out where a handler gives none.
        let reason = StatusCode::from_bytes(status.as_bytes()).ok().and_then(|status| status.canonical_reason());
        if let (RefOr::T(response), Some(reason)) = (response, reason)
            && response.description.is_empty()
        {
            reason.clone_into(&mut response.description);
        }
    }
    if route.zone != Zone::Public {
        operation.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    }
}

/// Where the document is.
pub fn path(core: &Core) -> String {
    format!("{}/openapi.json", core.api_prefix)
}

/// Records of the document, the pages that show it, and the features' pages, which are neither counted nor logged.
pub(super) fn unobserved(core: &Core, pages: impl Iterator<Item = &'static str>) -> Vec<(String, Arc<Route>)> {
    let own = ["/docs", "/docs/{file}", "/redoc", "/redoc/{file}"];
    let templates = own.into_iter().chain(pages).map(str::to_owned).chain([path(core)]);
    let record = |template: String| {
        let route = Route {
            template: template.clone(),
            methods: vec![http::Method::GET],
            zone: Zone::Public,
            class: crate::platform::rate_limit::Class::Default,
            options: Options::probe(),
        };
        (template, Arc::new(route))
    };
    templates.map(record).collect()
}

/// The document as a route; absent in production.
pub(super) fn page(app: &crate::app::App, api: &OpenApi) -> axum::Router {
    if app.config.core.environment.is_production() {
        return axum::Router::new();
    }
    // Made once: it never changes while the process runs.
    let text: bytes::Bytes = api.to_json().unwrap_or_default().into();
    let answer = move || async move { ([(http::header::CONTENT_TYPE, "application/json")], text) };
    axum::Router::new().route(&path(&app.config.core), axum::routing::get(answer))
}
