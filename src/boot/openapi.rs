//! The OpenAPI document: made from the handlers, then completed with what follows from a route's policy (security, error
//! answers), so that no handler has to repeat it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::routing::get;
use http::{Method, StatusCode, header};
use serde_json::json;
use url::Url;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{Array, ArrayItems, Components};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{OpenApi, Ref, RefOr, Schema, Server};
use utoipa::{OpenApi as _, ToSchema};

use crate::app::config::Core;
use crate::app::{App, DynFeature};
use crate::platform::error::{CODES, Code};
use crate::platform::http::policy::{Area, Credentials, RequestBody};
use crate::platform::http::{Endpoints, Policy, Route, Version};
use crate::platform::middleware::places::SharedBody;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "OmniStack API",
        description = "Errors of every kind have one shape: `{\"error\": {code, message, details, request_id}}`. \
            JSON bodies are UTF-8, with or without a byte order mark. Bodies are sent uncompressed: one with a `Content-Encoding` is refused (415)."
    ),
    components(schemas(ErrorBody))
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
    /// For programs.
    code: String,
    /// For people.
    message: String,
    details: serde_json::Map<String, serde_json::Value>,
    /// As in the header `X-Request-ID`.
    request_id: Option<String>,
}

/// What the document of one version describes.
#[derive(Default)]
pub(super) struct Documented {
    pub paths: Vec<(String, PathItem)>,
    pub schemas: BTreeMap<String, RefOr<Schema>>,
    /// Tags of all operations, including those disabled by the configuration.
    pub tags: BTreeSet<String>,
}

/// Puts the document of a version together from what the features have registered for it.
pub(super) fn document(features: &[&'static DynFeature], described: &Documented, routes: &[Arc<Route>], project_name: &str) -> OpenApi {
    let mut api = Document::openapi();
    project_name.clone_into(&mut api.info.title);
    let tags = features.iter().flat_map(|feature| feature.tags()).filter(|(name, _)| described.tags.contains(*name));
    api.tags = Some(tags.map(|(name, description)| TagBuilder::new().name(*name).description(Some(*description)).build()).collect());
    for (path, item) in &described.paths {
        match api.paths.paths.get_mut(path) {
            Some(known) => known.merge_operations(item.clone()),
            None => {
                api.paths.paths.insert(path.clone(), item.clone());
            }
        }
    }
    let components = api.components.get_or_insert_with(Components::new);
    components.schemas.extend(described.schemas.iter().map(|(name, schema)| (name.clone(), schema.clone())));
    refer_to_named_items(&mut components.schemas);
    let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    for route in routes {
        if let Credentials::Cookie(name) = route.policy.credentials {
            components.add_security_scheme(name, SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(name))));
        }
    }
    for route in routes {
        let Some(item) = api.paths.paths.get_mut(&route.template) else { continue };
        for (method, operation) in [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ] {
            if let Some(operation) = operation.as_mut().filter(|_| route.methods.contains(&method)) {
                complete_operation(operation, route);
            }
        }
    }
    api
}

/// The derived schema of a generic type (`Page<T>`, `Envelope<T>`) repeats its parameter's schema, so client generators create a
/// duplicate type. Replaces it with a reference to the named schema.
fn refer_to_named_items(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let named = schemas.clone();
    let properties = schemas.values_mut().filter_map(|schema| match schema {
        RefOr::T(Schema::Object(object)) => Some(object.properties.values_mut()),
        _ => None,
    });
    for property in properties.flatten() {
        // A plain text is no type of its own, even where a named schema has the same shape.
        let has_members = match property {
            RefOr::T(Schema::Object(object)) => !object.properties.is_empty(),
            RefOr::T(schema) => matches!(schema, Schema::AllOf(_)),
            RefOr::Ref(_) => false,
        };
        let repeated = match property {
            RefOr::T(Schema::Array(Array { items: ArrayItems::RefOrSchema(items), .. })) => &mut **items,
            whole if has_members => whole,
            _ => continue,
        };
        if let Some((name, _)) = named.iter().find(|(_, schema)| *schema == repeated) {
            *repeated = Ref::from_schema_name(name).into();
        }
    }
}

/// Adds security and the policy's error responses; gives a handler's bare error responses their body.
fn complete_operation(operation: &mut Operation, route: &Route) {
    let (policy, responses) = (&route.policy, &mut operation.responses.responses);
    let has_body = operation.request_body.is_some();
    let json_body = has_body && matches!(policy.body, RequestBody::Json(_));
    // A path parameter is never invalid: text that names no record is a 404.
    let can_be_invalid = |parameter: &RefOr<Parameter>| !matches!(parameter, RefOr::T(p) if p.parameter_in == ParameterIn::Path);
    let has_parameters = operation.parameters.iter().flatten().any(can_be_invalid);
    let guarded = policy.access.is_guarded();
    let mut statuses: Vec<u16> = CODES.iter().map(|code| code.status.as_u16()).collect();
    statuses.dedup();
    for status in statuses {
        let possible = match status {
            // A body that cannot be read or parsed, or is compressed.
            400 | 415 => has_body,
            // 409: the first request of a user whose address another user has, on any route.
            401 | 403 | 409 => guarded,
            404 => route.template.contains('{'),
            422 => json_body || has_parameters,
            429 => policy.budget.is_some(),
            // From admission control, on every route: a body above the limit, a fault, the deadline.
            413 | 500 | 503 => true,
            // An operation declares every other status itself. The test harness fails a test that meets one it does not.
            _ => false,
        };
        let declared = responses.get(&status.to_string());
        let bare = matches!(declared, Some(RefOr::T(response)) if response.content.is_empty());
        if bare || (possible && declared.is_none()) {
            let declared = match declared {
                Some(RefOr::T(response)) => response.description.clone(),
                _ => String::new(),
            };
            responses.insert(status.to_string(), RefOr::T(error_response(status, &declared)));
        }
    }
    for (status, response) in responses.iter_mut() {
        // OpenAPI 3.1 requires a description of each response; utoipa omits it if a handler gives none.
        let reason = StatusCode::from_bytes(status.as_bytes()).ok().and_then(|status| status.canonical_reason());
        if let (RefOr::T(response), Some(reason)) = (response, reason)
            && response.description.is_empty()
        {
            reason.clone_into(&mut response.description);
        }
    }
    // A handler of this area that verifies its caller itself takes a token, too.
    if guarded || policy.area == Area::App {
        let scheme = match policy.credentials {
            Credentials::Bearer | Credentials::Query => "bearer",
            Credentials::Cookie(name) => name,
        };
        operation.security = Some(vec![SecurityRequirement::new(scheme, Vec::<String>::new())]);
    }
}

/// The answer of a status: its usual code, which is the first of that status, and those that the handler's description names.
fn error_response(status: u16, declared: &str) -> utoipa::openapi::Response {
    let of_status = CODES.iter().filter(|code| code.status.as_u16() == status);
    let codes: Vec<&Code> =
        of_status.enumerate().filter(|(n, code)| *n == 0 || declared.contains(code.name)).map(|(_, code)| code).collect();
    let description: Vec<String> = codes.iter().map(|code| format!("`{}`: {}", code.name, code.when)).collect();
    let example = codes.first().map(|code| {
        json!({"error": {"code": code.name, "message": code.when, "details": {}, "request_id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d"}})
    });
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).example(example).build();
    ResponseBuilder::new().description(description.join("; ")).content("application/json", content).build()
}

/// The path of a version's document.
pub fn path(core: &Core, version: Version) -> String {
    let prefix = match version {
        Version::V1 => &core.api_prefix,
        Version::V2 => &core.api_v2_prefix,
    };
    format!("{prefix}/openapi.json")
}

/// The address of the API for clients that are made from the document. Without `PUBLIC_BASE_URL` there is none: it is then the
/// host that the document was read from.
pub fn servers(public_base_url: Option<&Url>) -> Option<Vec<Server>> {
    public_base_url.map(|url| vec![Server::new(url.as_str().trim_end_matches('/'))])
}

/// The documents as pages; absent in production.
pub(super) fn endpoints(app: &App, apis: &[(Version, OpenApi)]) -> Endpoints<App> {
    if app.config.core.environment.is_production() {
        return Endpoints::new();
    }
    apis.iter().fold(Endpoints::new(), |pages, (version, api)| {
        // Rendered once: it never changes while the process runs.
        let text: bytes::Bytes = api.to_json().unwrap_or_default().into();
        let answer = move || async move { (Extension(SharedBody), [(header::CONTENT_TYPE, "application/json")], text) };
        pages.page(Policy::page(), path(&app.config.core, *version), [Method::GET], get(answer))
    })
}
