//! CSRF protection: browsers send cookies also with requests from other sites' pages. Routes that take their token from a
//! cookie refuse unsafe requests that do not come from the same origin.

use http::{HeaderMap, HeaderValue, Method, Uri, header};

/// Returns whether the request is safe (RFC 9110 §9.2.1) or comes from a page of the same origin.
///
/// Browsers report the origin in `Sec-Fetch-Site` (<https://www.w3.org/TR/fetch-metadata/>), older ones in `Origin`. A client
/// that sends neither is not a browser, so it has no cookies that another site could use.
pub fn is_same_origin(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return true;
    }
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match text(header::HeaderName::from_static("sec-fetch-site")) {
        Some(site) => return matches!(site, "same-origin" | "none"),
        None if headers.contains_key("sec-fetch-site") => return false,
        None => {}
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = text(header::HOST).or_else(|| uri.authority().map(http::uri::Authority::as_str));
    host.is_some_and(|host| is_origin_of_host(origin, host))
}

/// Returns whether pages of the origin come from the host that a request is for.
pub fn is_origin_of_host(origin: &HeaderValue, host: &str) -> bool {
    // An app shell's origin, such as `capacitor://app.example.com`, is another one even with the same host.
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")));
    origin == Some(host)
}

/// Returns the value of a cookie.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(method: &Method, headers: &[(&'static str, &str)]) -> bool {
        let mut all = HeaderMap::new();
        all.insert(header::HOST, "app.example.com".parse().unwrap());
        for (name, value) in headers {
            all.insert(*name, value.parse().unwrap());
        }
        is_same_origin(method, &Uri::from_static("/console"), &all)
    }

    #[test]
    fn csrf_unsafe_cross_site_request_is_refused() {
        assert!(allowed(&Method::GET, &[("sec-fetch-site", "cross-site")]));
        for (headers, same) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example.com")], false),
            (&[("origin", "https://app.example.com")], true),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "capacitor://app.example.com")], false),
            (&[], true),
        ] {
            assert_eq!(allowed(&Method::POST, headers), same, "{headers:?}");
        }
    }

    #[test]
    fn cookie_is_matched_by_full_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; session=abc".parse().unwrap());
        headers.append(header::COOKIE, "xsession=no; b=x=y".parse().unwrap());
        assert_eq!((cookie(&headers, "session"), cookie(&headers, "b"), cookie(&headers, "c")), (Some("abc"), Some("x=y"), None));
    }
}
