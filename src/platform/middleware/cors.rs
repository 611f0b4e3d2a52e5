//! Cross-origin requests (the Fetch standard's CORS protocol) from the configured origins.
//!
//! tower-http's layer does not fit: it answers every OPTIONS request as a preflight, but other OPTIONS requests must be a 405
//! with `Allow`; and it sends the credentials header to other origins as well.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};

use crate::platform::config::Origin;

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Quota-Limit, X-Quota-Remaining, X-Quota-Reset, Retry-After, \
     X-API-Version, X-API-Latest-Version, Deprecation, Sunset, X-Deprecation-Notice, Link",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const VARY: HeaderValue = HeaderValue::from_static("Origin");

/// The origins whose pages may send requests with credentials.
#[derive(Clone)]
pub struct Cors(std::sync::Arc<[Origin]>);

impl Cors {
    pub fn new(origins: &[Origin]) -> Self {
        Self(origins.into())
    }

    /// Returns the request's origin, if it is allowed.
    pub fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.0.iter().any(|allowed| allowed.0 == "*" || allowed.0.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

/// Returns whether the request is a CORS preflight.
pub fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight.
pub fn preflight(request_headers: &HeaderMap, allowed: Option<&HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    set_headers(headers, allowed);
    if allowed.is_some() {
        headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if let Some(asked) = request_headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
    }
    response
}

/// Lets pages of an allowed origin read the response, also an error; always adds `Vary`.
pub fn set_headers(headers: &mut HeaderMap, allowed: Option<&HeaderValue>) {
    headers.append(header::VARY, VARY);
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        // Appended, because a handler may expose headers of its own.
        headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
