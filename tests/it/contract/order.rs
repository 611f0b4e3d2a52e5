//! The order of the checks: what a caller learns about a request, and what not yet.

use http::Method;
use omnistack::platform::http::policy::Access;
use serde_json::json;

use super::{calls_at, is_guarded, path_of};
use crate::harness::{Backend, TestApp};

/// Bodies from bad to worse; none tells a caller without a token anything.
const BODIES: [(&str, &str); 6] = [
    ("application/json", r#"{"name": ""}"#),
    ("application/json", "[]"),
    ("application/json", "{"),
    ("application/json", ""),
    ("text/plain", "hello"),
    ("multipart/form-data; boundary=x", "--x--"),
];

#[tokio::test]
async fn without_a_token_nobody_learns_whether_a_body_is_valid_or_a_record_exists() {
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
async fn without_the_role_nobody_learns_it_either() {
    let t = TestApp::start(Backend::Sqlite).await;
    let amy = t.user("amy").await;
    for (route, method) in calls_at(&t).into_iter().filter(|(route, _)| route.policy.access == Access::Admin) {
        for (content_type, body) in BODIES {
            let reply = amy.call(method.clone(), &path_of(&route)).body(content_type, body).query(&[("limit", "0")]).await;
            reply.expect_error(403, "AUTHORIZATION_ERROR");
        }
    }
}

/// Every operation of the zones with a token that the document gives a JSON body: method and path.
fn operations_with_body(t: &TestApp) -> Vec<(Method, String)> {
    let api = serde_json::to_value(omnistack::boot::router::api(&omnistack::features::all(), "x")).unwrap();
    let calls = calls_at(t).into_iter().filter(|(route, _)| is_guarded(route));
    let with_body = calls.filter(|(route, method)| {
        let operation = &api["paths"][&route.template][method.as_str().to_lowercase()];
        operation["requestBody"]["content"]["application/json"].is_object()
    });
    let found: Vec<_> = with_body.map(|(route, method)| (method, path_of(&route))).collect();
    assert!(!found.is_empty());
    found
}

#[tokio::test]
async fn a_body_is_judged_by_its_type_then_its_form_then_its_content() {
    let t = TestApp::with(Backend::Sqlite, &[("MAX_BODY_BYTES", "2000")]).await;
    let admin = t.admin().await;
    for (method, path) in operations_with_body(&t) {
        let send = |content_type: &'static str, body: String| admin.call(method.clone(), &path).body(content_type, body);
        // Too large comes before everything, even for somebody without a token.
        send("text/plain", "x".repeat(2001)).await.expect_error(413, "PAYLOAD_TOO_LARGE");
        let large = t.anonymous().call(method.clone(), &path).body("text/plain", "x".repeat(2001)).await;
        large.expect_error(413, "PAYLOAD_TOO_LARGE");
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonp", "json"] {
            for body in ["{", "[]", "{}"] {
                send(content_type, body.to_owned()).await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
            }
        }
        // Neither a body nor a type: what is missing is the body.
        assert_eq!(admin.call(method.clone(), &path).await.expect_error(422, "VALIDATION_ERROR")["field"], "body", "{method} {path}");
        for body in ["", "{", "{\"name\": }", "\u{feff}{}", "{} {}", "{'name': 'x'}", "NaN"] {
            send("application/json", body.to_owned()).await.expect_error(400, "BAD_REQUEST");
        }
        // The schema of each body is understood: a pattern that is not would be a 500 here.
        for body in ["[]", "null", "5", "\"text\"", "true", "[{}]"] {
            let details = send("application/vnd.api+json; charset=utf-8", body.to_owned()).await.expect_error(422, "VALIDATION_ERROR");
            assert_eq!(details["field"], "body", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn parameters_of_a_query_are_all_understood_and_judged() {
    let t = TestApp::start(Backend::Sqlite).await;
    let admin = t.admin().await;
    let api = serde_json::to_value(omnistack::boot::router::api(&omnistack::features::all(), "x")).unwrap();
    let mut judged = 0;
    for (route, method) in calls_at(&t).into_iter().filter(|(route, method)| is_guarded(route) && method == Method::GET) {
        let parameters = api["paths"][&route.template]["get"]["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let wrong = match parameter["schema"]["type"].as_str() {
                Some("integer" | "number") => "many",
                Some("boolean") => "perhaps",
                _ => "nul \0",
            };
            let what = format!("{} {name}={wrong:?}", route.template);
            let details = admin.call(method.clone(), &path_of(&route)).query(&[(name, wrong)]).await.expect_error(422, "VALIDATION_ERROR");
            assert_eq!(details["errors"][0]["field"], name, "{what}: {details}");
            judged += 1;
        }
    }
    assert!(judged > 3, "no route has parameters");
}

#[tokio::test]
async fn a_spent_budget_is_told_before_anything_else_about_the_request() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/day"), ("MAX_BODY_BYTES", "1000")]).await;
    let anybody = t.anonymous();
    anybody.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    anybody.get("/app/users/me").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    anybody.get("/admin/users").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    t.with_token("junk").get("/app/users/me").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    anybody.call(Method::POST, "/app/projects").body("text/plain", "x").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    // But routes, methods and sizes come first.
    anybody.get("/app/nothing").await.expect_error(404, "NOT_FOUND");
    anybody.delete("/app/users/me").await.expect_error(405, "METHOD_NOT_ALLOWED");
    let large = anybody.post("/app/projects", json!({"name": "x".repeat(1000)})).await;
    large.expect_error(413, "PAYLOAD_TOO_LARGE");
    // And a user's own budget is untouched by all that: the deactivated one is told so, until it is spent.
    let off = t.user("off").await;
    t.sql("UPDATE users SET is_active = FALSE").await;
    t.forget_identity("off");
    off.get("/app/users/me").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    t.clock.advance(chrono::TimeDelta::days(2));
    let token = crate::harness::tokens::claims("off", &t.clock).sign(crate::harness::SECRET);
    t.with_token(&token).get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
}

#[tokio::test]
async fn a_deactivated_account_is_told_so_before_its_body_is_read() {
    let t = TestApp::start(Backend::Sqlite).await;
    let off = t.user("off").await;
    t.sql("UPDATE users SET is_active = FALSE").await;
    t.forget_identity("off");
    for (content_type, body) in BODIES {
        let reply = off.call(Method::POST, "/app/projects").body(content_type, body).await;
        reply.expect_error(403, "AUTHORIZATION_ERROR");
    }
}
