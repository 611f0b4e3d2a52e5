//! Headers of every response.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::platform::http::policy::Caching;

const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()",
        ),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
];

const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains; preload");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// Sets the security headers, except those that the handler has set, and `Cache-Control` by the route's policy.
pub fn set_security_headers(headers: &mut HeaderMap, production: bool, caching: Caching) {
    // Reserved once, instead of growing and rehashing twice.
    headers.reserve(16);
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(value);
    }
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(POLICY);
    if production {
        headers.insert(STRICT_TRANSPORT_SECURITY, TRANSPORT);
    }
    match caching {
        Caching::NoStore => {
            headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
        }
        Caching::NoCache => {
            headers.entry(CACHE_CONTROL).or_insert(NO_CACHE);
        }
        Caching::Public(seconds) if !headers.contains_key(CACHE_CONTROL) => {
            if let Ok(value) = HeaderValue::try_from(format!("public, max-age={seconds}")) {
                headers.insert(CACHE_CONTROL, value);
            }
        }
        Caching::Public(_) | Caching::Unspecified => {}
    }
}
