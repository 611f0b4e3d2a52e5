//! The order of the checks of a request, and the information that a refusal reveals.

use http::Method;
use omnistack::platform::http::policy::Access;
use serde_json::json;

use super::{calls_at, described, is_guarded, path_of};
use crate::harness::{Backend, TestApp};

/// Invalid bodies. The response to a caller without access must not depend on the body.
const BODIES: [(&str, &str); 6] = [
    ("application/json", r#"{"name": ""}"#),
    ("application/json", "[]"),
    ("application/json", "{"),
    ("application/json", ""),
    ("text/plain", "hello"),
    ("multipart/form-data; boundary=x", "--x--"),
];

#[tokio::test]
async fn request_without_token_returns_401_before_validation() {
    let t = TestApp::start(Backend::Sqlite).await;
    let amy = t.user("amy").await;
    let existing = format!("/app/projects/{}", amy.project("Apollo").await["id"].as_str().unwrap());
    let guarded = calls_at(&t).into_iter().filter(|(route, _)| is_guarded(route)).map(|(route, method)| (method, path_of(&route)));
    for (method, path) in guarded.chain([(Method::GET, existing.clone()), (Method::DELETE, existing)]) {
        for (content_type, body) in BODIES {
            let reply = t.anonymous().call(method.clone(), &path).body(content_type, body).query(&[("limit", "0")]).await;
            reply.expect_error(401, "AUTHENTICATION_ERROR");
        }
    }
}

#[tokio::test]
async fn request_without_role_returns_403_before_validation() {
    let t = TestApp::start(Backend::Sqlite).await;
    let amy = t.user("amy").await;
    for (route, method) in calls_at(&t).into_iter().filter(|(route, _)| route.policy.access == Access::Admin) {
        for (content_type, body) in BODIES {
            let reply = amy.call(method.clone(), &path_of(&route)).body(content_type, body).query(&[("limit", "0")]).await;
            reply.expect_error(403, "AUTHORIZATION_ERROR");
        }
    }
}

/// Every guarded operation with a JSON body in the OpenAPI document: method and path.
fn operations_with_body(t: &TestApp) -> Vec<(Method, String)> {
    let calls = calls_at(t).into_iter().filter(|(route, _)| is_guarded(route));
    let with_body = calls.filter(|(route, method)| described(route, method)["requestBody"]["content"]["application/json"].is_object());
    let found: Vec<_> = with_body.map(|(route, method)| (method, path_of(&route))).collect();
    assert!(!found.is_empty());
    found
}

#[tokio::test]
async fn body_is_checked_by_type_then_syntax_then_schema() {
    let t = TestApp::with(Backend::Sqlite, &[("MAX_BODY_BYTES", "2000")]).await;
    let admin = t.admin().await;
    for (method, path) in operations_with_body(&t) {
        let send = |content_type: &'static str, body: String| admin.call(method.clone(), &path).body(content_type, body);
        // The size is checked first, also without a token.
        send("text/plain", "x".repeat(2001)).await.expect_error(413, "PAYLOAD_TOO_LARGE");
        let large = t.anonymous().call(method.clone(), &path).body("text/plain", "x".repeat(2001)).await;
        large.expect_error(413, "PAYLOAD_TOO_LARGE");
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonp", "json"] {
            for body in ["{", "[]", "{}"] {
                send(content_type, body.to_owned()).await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
            }
        }
        // Without body and content type the error is the missing body.
        assert_eq!(admin.call(method.clone(), &path).await.expect_error(422, "VALIDATION_ERROR")["field"], "body", "{method} {path}");
        for body in ["", "{", "{\"name\": }", "\u{feff}", "\u{feff}\u{feff}{}", "{} {}", "{'name': 'x'}", "NaN"] {
            send("application/json", body.to_owned()).await.expect_error(400, "BAD_REQUEST");
        }
        // The schema of each body can be compiled: an unsupported pattern would return 500.
        for body in ["[]", "null", "5", "\"text\"", "true", "[{}]"] {
            let details = send("application/vnd.api+json; charset=utf-8", body.to_owned()).await.expect_error(422, "VALIDATION_ERROR");
            assert_eq!(details["field"], "body", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn query_parameters_are_all_validated() {
    let t = TestApp::start(Backend::Sqlite).await;
    let admin = t.admin().await;
    let mut judged = 0;
    for (route, method) in calls_at(&t).into_iter().filter(|(route, method)| is_guarded(route) && method == Method::GET) {
        let parameters = described(&route, &method)["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let wrong = match parameter["schema"]["type"].as_str() {
                Some("integer" | "number") => "many",
                Some("boolean") => "perhaps",
                _ => "nul \0",
            };
            let what = format!("{} {name}={wrong:?}", route.template);
            let details = admin.call(method.clone(), &path_of(&route)).query(&[(name, wrong)]).await.expect_error(422, "VALIDATION_ERROR");
            // Beside it, parameters that are required and missing.
            let errors = details["errors"].as_array().unwrap();
            assert!(errors.iter().any(|error| error["field"] == name), "{what}: {details}");
            judged += 1;
        }
    }
    assert!(judged > 3, "no route has parameters");
}

#[tokio::test]
async fn rate_limit_exceeded_is_reported_before_other_checks() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/day"), ("MAX_BODY_BYTES", "1000")]).await;
    let anybody = t.anonymous();
    anybody.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    anybody.get("/app/users/me").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    anybody.get("/admin/users").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    t.with_token("junk").get("/app/users/me").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    anybody.call(Method::POST, "/app/projects").body("text/plain", "x").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    // Route, method and size are checked before the rate limit.
    anybody.get("/app/nothing").await.expect_error(404, "NOT_FOUND");
    anybody.delete("/app/users/me").await.expect_error(405, "METHOD_NOT_ALLOWED");
    let large = anybody.post("/app/projects", json!({"name": "x".repeat(1000)})).await;
    large.expect_error(413, "PAYLOAD_TOO_LARGE");
    // A deactivated user gets 429 while the budget is spent, and 403 afterwards.
    let off = t.user("off").await;
    t.sql("UPDATE users SET is_active = FALSE").await;
    t.forget_identity("off");
    off.get("/app/users/me").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    t.clock.advance(chrono::TimeDelta::days(2));
    let token = crate::harness::tokens::claims("off", &t.clock).sign(crate::harness::SECRET);
    t.with_token(&token).get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
}

#[tokio::test]
async fn deactivated_account_returns_403_before_body_is_read() {
    let t = TestApp::start(Backend::Sqlite).await;
    let off = t.user("off").await;
    t.sql("UPDATE users SET is_active = FALSE").await;
    t.forget_identity("off");
    for (content_type, body) in BODIES {
        let reply = off.call(Method::POST, "/app/projects").body(content_type, body).await;
        reply.expect_error(403, "AUTHORIZATION_ERROR");
    }
}
