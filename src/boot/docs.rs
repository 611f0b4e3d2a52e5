//! `/docs` (Swagger UI, to try the API) and `/redoc` (Scalar, to read it), embedded in the binary: they work offline and
//! under a content security policy that allows no other origins. Both switch between the versions of the API. Absent in production.
//!
//! Every reference is relative, so the pages also work behind a proxy that strips a path prefix.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::extract::Path;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use utoipa_swagger_ui::Config;

use super::openapi;
use crate::app::App;
use crate::platform::http::{Endpoints, Policy, Version};
use crate::platform::middleware::places::SharedBody;

/// Content security policy of both pages: scripts may set styles; only the service itself may be loaded from or called.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const PAGE: Policy = Policy::page();

/// Scalar's script, several megabytes. Kept once it was asked for.
static SCALAR: OnceLock<Option<Bytes>> = OnceLock::new();

pub(super) fn endpoints(app: &App) -> Endpoints<App> {
    if app.config.core.environment.is_production() {
        return Endpoints::new();
    }
    // Relative to the pages, which are at the root. The first one is shown first.
    let documents = Version::ALL.map(|version| openapi::path(&app.config.core, version).trim_start_matches('/').to_owned());
    let sources: Vec<_> =
        Version::ALL.iter().zip(&documents).map(|(version, url)| serde_json::json!({"title": version.name(), "url": url})).collect();
    let title = escape(&app.config.core.project_name);
    let swagger = Arc::new(Config::new(documents).persist_authorization(true).try_it_out_enabled(true));
    let swagger_page = page(
        &title,
        r#"<link rel="stylesheet" href="docs/swagger-ui.css"><link rel="stylesheet" href="docs/index.css">"#,
        r#"<div id="swagger-ui"></div><script src="docs/swagger-ui-bundle.js"></script><script src="docs/swagger-ui-standalone-preset.js"></script><script src="docs/swagger-initializer.js"></script>"#,
    );
    let scalar_page =
        page(&title, "", r#"<div id="app"></div><script src="redoc/scalar.js"></script><script src="redoc/start.js"></script>"#);
    let start = format!(
        "Scalar.createApiReference('#app', {});",
        serde_json::json!({"sources": sources, "withDefaultFonts": false, "telemetry": false, "hideClientButton": true, "showDeveloperTools": "never", "agent": {"disabled": true}})
    );
    Endpoints::new()
        .page(PAGE, "/docs", [Method::GET], get(move || async move { shown(swagger_page) }))
        .page(PAGE, "/docs/", [Method::GET], get(|| async { Redirect::temporary("../docs") }))
        .page(PAGE, "/docs/{file}", [Method::GET], get(move |Path(file): Path<String>| async move { swagger_file(&file, swagger) }))
        .page(PAGE, "/redoc", [Method::GET], get(move || async move { shown(scalar_page) }))
        .page(PAGE, "/redoc/", [Method::GET], get(|| async { Redirect::temporary("../redoc") }))
        .page(PAGE, "/redoc/{file}", [Method::GET], get(move |Path(file): Path<String>| async move { scalar_file(&file, start) }))
}

fn page(title: &str, head: &str, body: &str) -> String {
    format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><link rel="icon" href="data:,">{head}</head><body>{body}</body></html>"#
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn shown(page: String) -> Response {
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(page)).into_response()
}

fn swagger_file(file: &str, config: Arc<Config<'static>>) -> Response {
    match utoipa_swagger_ui::serve(file, config) {
        Ok(Some(found)) => {
            let bytes = match found.bytes {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => bytes.into(),
            };
            let mut response = script(found.content_type, bytes);
            if found.gzpipped {
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn scalar_file(file: &str, start: String) -> Response {
    match file {
        "start.js" => script("text/javascript; charset=utf-8".to_owned(), start.into()),
        // The crate returns a copy for each call.
        "scalar.js" => match SCALAR.get_or_init(|| scalar_api_reference::get_asset("scalar.js").map(Bytes::from)) {
            Some(bytes) => script("text/javascript; charset=utf-8".to_owned(), bytes.clone()),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// An asset: all responses share its bytes.
fn script(content_type: String, bytes: Bytes) -> Response {
    let cache = HeaderValue::from_static("public, max-age=3600");
    match HeaderValue::try_from(content_type) {
        Ok(content_type) => (Extension(SharedBody), [(CONTENT_TYPE, content_type), (CACHE_CONTROL, cache)], bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bytes(response: Response) -> Bytes {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn asset_is_one_copy_for_all_responses() {
        let config = Arc::new(Config::from("/openapi.json"));
        let scalar = || scalar_file("scalar.js", String::new());
        let swagger = || swagger_file("swagger-ui-bundle.js", config.clone());
        for (first, second) in [(scalar(), scalar()), (swagger(), swagger())] {
            let (first, second) = (bytes(first).await, bytes(second).await);
            assert!(first.len() > 100_000);
            assert_eq!(first.as_ptr(), second.as_ptr());
        }
    }
}
