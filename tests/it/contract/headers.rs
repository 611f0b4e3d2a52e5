//! Response headers: security headers, request ids, HSTS, CORS, compression, connection close.

use http::Method;
use serde_json::json;

use crate::harness::{Backend, Client, Reply, TestApp};

const PERMISSIONS: &str = "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()";
const FRONT_END: &str = "http://localhost:3000";

/// Checks the headers that every response must have and the headers that no response may have.
#[track_caller]
pub fn carries_what_every_answer_does(what: &str, reply: &Reply) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "1; mode=block"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("permissions-policy", PERMISSIONS),
    ] {
        let given: Vec<_> = reply.headers.get_all(name).iter().collect();
        assert_eq!(given, [value], "{what}: {name}");
    }
    let id = reply.header("x-request-id").unwrap_or_default();
    assert!((1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{what}: {id:?}");
    for name in ["server", "x-powered-by", "strict-transport-security"] {
        assert_eq!(reply.header(name), None, "{what}");
    }
}

/// Checks that the rate-limit headers are present if `limited`, and absent otherwise.
#[track_caller]
pub fn tells_its_budget(what: &str, reply: &Reply, limited: bool) {
    for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
        let number = reply.header(name).map(str::parse::<u64>);
        assert_eq!(number.is_some(), limited, "{what}: {name} is {number:?}");
        assert!(number.is_none_or(|number| number.is_ok()), "{what}: {name}");
    }
}

#[tokio::test]
async fn request_id_valid_is_kept_and_invalid_is_replaced() {
    let t = TestApp::start(Backend::Sqlite).await;
    let longest = "x".repeat(128);
    for id in ["a", "trace.1_2-3", "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", longest.as_str()] {
        assert_eq!(t.anonymous().get("/public/health").header("x-request-id", id).await.header("x-request-id"), Some(id));
        let error = t.anonymous().get("/nothing").header("x-request-id", id).await;
        assert_eq!(error.json()["error"]["request_id"], id);
        assert_eq!(error.header("x-request-id"), Some(id));
    }
    let too_long = "x".repeat(129);
    let mut seen = std::collections::HashSet::new();
    for id in ["", " ", "a b", "a,b", "a/b", "<script>", "ä", "a\tb", "{}", too_long.as_str()] {
        let reply = t.anonymous().get("/public/health").header("x-request-id", id).await;
        let fresh = reply.header("x-request-id").unwrap();
        assert!(uuid::Uuid::parse_str(fresh).is_ok(), "{id:?} became {fresh:?}");
        assert!(seen.insert(fresh.to_owned()), "{fresh} came twice");
    }
}

#[tokio::test]
async fn hsts_header_is_sent_only_in_production() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let t = TestApp::with(Backend::Postgres, &super::openapi::PRODUCTION).await;
    for path in ["/public/health", "/app/users/me", "/nothing"] {
        let reply = t.anonymous().get(path).await;
        assert_eq!(reply.header("strict-transport-security"), Some("max-age=31536000; includeSubDomains; preload"), "{path}");
    }
    let staging = TestApp::with(Backend::Sqlite, &[("ENVIRONMENT", "staging")]).await;
    assert_eq!(staging.anonymous().get("/public/health").await.header("strict-transport-security"), None);
}

async fn preflight(client: &Client, origin: &str, path: &str, asked: &[(&str, &str)]) -> Reply {
    let mut call = client.call(Method::OPTIONS, path).header("origin", origin).header("access-control-request-method", "PATCH");
    for (name, value) in asked {
        call = call.header(name, value);
    }
    call.await
}

#[track_caller]
fn varies_by_origin(reply: &Reply) {
    let varies = reply.headers.get_all("vary").iter().any(|value| value.to_str().unwrap().split(',').any(|name| name.trim() == "Origin"));
    assert!(varies, "{:?}", reply.headers);
}

#[tokio::test]
async fn cors_preflight_of_allowed_origin_is_accepted() {
    // A preflight is neither authenticated nor rate-limited.
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/day")]).await;
    for path in ["/app/users/me", "/admin/users", "/public/health", "/nothing", "/app/users/me"] {
        let reply = preflight(&t.anonymous(), FRONT_END, path, &[("access-control-request-headers", "authorization, x-anything")]).await;
        assert!(matches!(reply.status.as_u16(), 200 | 204), "{path}: {}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), Some(FRONT_END), "{path}");
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(reply.header("access-control-allow-headers"), Some("authorization, x-anything"));
        assert_eq!(reply.header("access-control-max-age"), Some("600"));
        let methods = reply.header("access-control-allow-methods").unwrap();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            assert!(methods.contains(method), "{methods}");
        }
        varies_by_origin(&reply);
        carries_what_every_answer_does(path, &reply);
        tells_its_budget(path, &reply, false);
    }
    // The preflights were not counted.
    assert_eq!(t.anonymous().get("/app/users/me").await.header("x-ratelimit-remaining"), Some("0"));
}

#[tokio::test]
async fn cors_unknown_origin_gets_no_cors_headers() {
    let t = TestApp::start(Backend::Sqlite).await;
    for origin in
        ["https://evil.example", "null", "http://localhost:3001", "https://localhost:3000", "http://localhost:3000.evil.example", ""]
    {
        let asked = preflight(&t.anonymous(), origin, "/app/users/me", &[]).await;
        let plain = t.anonymous().get("/public/health").header("origin", origin).await;
        assert_eq!(plain.status, 200, "the request is served; the browser enforces CORS");
        for reply in [asked, plain] {
            assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{origin}: {:?}", reply.headers);
            varies_by_origin(&reply);
        }
    }
}

#[tokio::test]
async fn cors_allowed_origin_can_read_every_response() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/hour")]).await;
    let amy = t.user("amy").await;
    for (path, status) in [("/public/health", 200), ("/app/users/me", 429), ("/nothing", 404)] {
        let reply = amy.get(path).header("origin", FRONT_END).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), Some(FRONT_END), "{path}");
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
        let exposed: Vec<_> = reply.header("access-control-expose-headers").unwrap().split(", ").collect();
        for name in [
            "X-Request-ID",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
            "X-Quota-Limit",
            "X-Quota-Remaining",
            "X-Quota-Reset",
            "Retry-After",
            "X-API-Version",
            "X-API-Latest-Version",
            "Deprecation",
            "Sunset",
            "X-Deprecation-Notice",
            "Link",
        ] {
            assert!(exposed.contains(&name), "{exposed:?}");
        }
        varies_by_origin(&reply);
    }
    let refused = t.anonymous().get("/app/users/me").header("origin", FRONT_END).await;
    assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (401, Some(FRONT_END)));
    let wrong_method = t.anonymous().delete("/public/health").header("origin", FRONT_END).await;
    assert_eq!((wrong_method.status.as_u16(), wrong_method.header("access-control-allow-origin")), (405, Some(FRONT_END)));
    varies_by_origin(&t.anonymous().get("/public/health").await);
}

#[tokio::test]
async fn options_without_preflight_headers_returns_405() {
    let t = TestApp::start(Backend::Sqlite).await;
    let plain = t.anonymous().call(Method::OPTIONS, "/app/projects").await;
    assert!(plain.header("allow").unwrap().contains("POST"), "{:?}", plain.headers);
    plain.expect_error(405, "METHOD_NOT_ALLOWED");
    let no_method = t.anonymous().call(Method::OPTIONS, "/app/projects").header("origin", FRONT_END).await;
    no_method.expect_error(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn cors_configured_origins_are_all_allowed() {
    let origins = r#"["HTTPS://App.example.com:443", "http://127.0.0.1:5173/", "capacitor://localhost", "tauri://localhost"]"#;
    let t = TestApp::with(Backend::Sqlite, &[("BACKEND_CORS_ORIGINS", origins)]).await;
    for origin in ["https://app.example.com", "http://127.0.0.1:5173", "capacitor://localhost", "tauri://localhost"] {
        let reply = t.anonymous().get("/public/health").header("origin", origin).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
    }
    for origin in [FRONT_END, "capacitor://localhost.evil.example", "http://localhost", "ionic://localhost", "capacitor://localhost:1"] {
        let reply = t.anonymous().get("/public/health").header("origin", origin).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn gzip_compresses_long_responses_on_request() {
    let t = TestApp::start(Backend::Sqlite).await;
    let amy = t.user("amy").await;
    for n in 0..20 {
        amy.post("/app/projects", json!({"name": format!("project {n}"), "description": "x".repeat(200)})).await.expect(201);
    }
    let plain = amy.get("/app/projects").await;
    assert_eq!(plain.header("content-encoding"), None);
    let zipped = amy.get("/app/projects").header("accept-encoding", "gzip").await;
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.starts_with(&[0x1f, 0x8b]) && zipped.body.len() < plain.body.len() / 2);
    for unwanted in ["identity", "br", "gzip;q=0"] {
        assert_eq!(amy.get("/app/projects").header("accept-encoding", unwanted).await.header("content-encoding"), None, "{unwanted}");
    }
    // Short responses are not compressed.
    for path in ["/app/users/me", "/nothing"] {
        assert_eq!(amy.get(path).header("accept-encoding", "gzip").await.header("content-encoding"), None, "{path}");
    }
    carries_what_every_answer_does("compressed", &zipped);
}

#[tokio::test]
async fn stopping_server_sends_connection_close() {
    let t = TestApp::start(Backend::Sqlite).await;
    assert_eq!(t.anonymous().get("/public/health").await.header("connection"), None);
    t.app.phase.set_stopping();
    t.stop.closing.cancel();
    // Requests are still served.
    for (path, status) in [("/public/health", 200), ("/app/users/me", 401), ("/nothing", 404), ("/public/health/ready", 503)] {
        let reply = t.anonymous().get(path).await;
        assert_eq!((reply.status.as_u16(), reply.header("connection")), (status, Some("close")), "{path}");
    }
}
