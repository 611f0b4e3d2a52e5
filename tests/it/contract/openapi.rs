//! The OpenAPI document: completeness, and a summary in a snapshot, so API changes are visible in a review. After an
//! intended change, run the tests with `INSTA_UPDATE=always`.

use std::collections::{BTreeMap, BTreeSet};

use omnistack::platform::http::Version;
use omnistack::platform::http::policy::{Area, Lifetime};
use serde_json::{Value, json};

use super::{document, documents, every_call, is_guarded};
use crate::harness::{Backend, TestApp};

/// Settings of a production installation.
pub const PRODUCTION: [(&str, &str); 4] = [
    ("ENVIRONMENT", "production"),
    ("BACKEND_CORS_ORIGINS", "https://app.example.com"),
    ("OAUTH_ISSUER", "https://id.example.com"),
    ("OAUTH_AUDIENCE", "api"),
];

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Path, method and operation of every entry in the document.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if METHODS.contains(&method.as_str()) {
                found.push((path.clone(), method.to_uppercase(), operation.clone()));
            }
        }
    }
    found
}

/// Follows a reference within the document.
fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let target = document.pointer(reference.strip_prefix('#').unwrap());
            resolve(document, target.unwrap_or_else(|| panic!("{reference} cannot be resolved")))
        }
        None => value,
    }
}

/// Calls `look` with every object of the document.
fn walk(value: &Value, look: &mut impl FnMut(&Value)) {
    look(value);
    match value {
        Value::Object(members) => members.values().for_each(|value| walk(value, look)),
        Value::Array(items) => items.iter().for_each(|value| walk(value, look)),
        _ => {}
    }
}

#[test]
fn openapi_summary_matches_snapshot() {
    insta::assert_snapshot!("api", summary(&document(Version::V1)));
    insta::assert_snapshot!("api_v2", summary(&document(Version::V2)));
}

/// Every operation and every schema, each as one line.
fn summary(document: &Value) -> String {
    let mut lines: Vec<String> = operations(document)
        .into_iter()
        .map(|(path, method, operation)| {
            let schema = |content: &Value| {
                let schema = &content["content"].as_object().and_then(|content| content.values().next())?["schema"];
                Some(schema["$ref"].as_str().map_or("(inline)", |name| name.rsplit('/').next().unwrap()).to_owned())
            };
            let mut words = vec![path.clone(), method, operation["operationId"].as_str().unwrap_or("?").to_owned()];
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let mark = if parameter["required"] == true { "" } else { "?" };
                words.push(format!("{}:{}{mark}", parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap()));
            }
            if let Some(body) = schema(&operation["requestBody"]) {
                words.push(format!("<- {body}"));
            }
            let mut statuses = Vec::new();
            for (status, response) in operation["responses"].as_object().unwrap() {
                match schema(resolve(document, response)) {
                    Some(body) if body != "ErrorBody" => statuses.push(format!("{status} {body}")),
                    _ => statuses.push(status.clone()),
                }
            }
            format!("{} -> {}", words.join(" "), statuses.join(", "))
        })
        .collect();
    lines.sort();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        lines.push(format!("{name} = {}", shape_of(schema)));
    }
    lines.join("\n")
}

/// A schema as one line: its type, the values of an enum, or the members of an object with `?` after optional members.
fn shape_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap().to_owned();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[choice].as_array() {
            return parts.iter().map(shape_of).collect::<Vec<_>>().join(if choice == "allOf" { " & " } else { " | " });
        }
    }
    if let Some(members) = schema["properties"].as_object() {
        let required: BTreeSet<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let members: Vec<_> = members
            .iter()
            .map(|(name, of)| format!("{name}{}: {}", if required.contains(name.as_str()) { "" } else { "?" }, shape_of(of)))
            .collect();
        return format!("{{{}}}", members.join(", "));
    }
    if schema["type"] == "array" {
        return format!("[{}]", shape_of(&schema["items"]));
    }
    let types = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | "),
        _ => "any".to_owned(),
    };
    schema["format"].as_str().map_or(types.clone(), |format| format!("{types}({format})"))
}

#[test]
fn openapi_describes_exactly_the_registered_routes() {
    let registered: BTreeSet<_> = every_call().into_iter().map(|(route, method)| (route.template.clone(), method.to_string())).collect();
    let described: Vec<_> = documents().iter().flat_map(operations).map(|(path, method, _)| (path, method)).collect();
    assert_eq!(described.len(), every_call().len(), "an operation is in two documents");
    assert_eq!(registered, described.into_iter().collect());
    for version in Version::ALL {
        for (path, _, _) in operations(&document(version)) {
            assert_eq!(Version::of_path(&path), Some(version), "{path}");
        }
    }
    assert_eq!(registered.len(), every_call().len(), "a route is registered twice");
}

#[test]
fn openapi_operations_are_complete() {
    let mut ids = BTreeMap::new();
    for document in documents() {
        let tags: BTreeSet<_> = document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].clone().to_string()).collect();
        let zones: BTreeMap<_, _> = every_call().into_iter().map(|(route, _)| (route.template.clone(), route)).collect();
        for (path, method, operation) in operations(&document) {
            let what = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{what} has no operationId"));
            assert!(id.chars().all(|c| c.is_ascii_alphanumeric()), "{what}: {id}");
            if let Some(other) = ids.insert(id.to_owned(), what.clone()) {
                panic!("{what} and {other} have the same operationId {id}");
            }
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{what} has no summary");
            let own: Vec<_> = operation["tags"].as_array().into_iter().flatten().map(Value::to_string).collect();
            assert!(!own.is_empty() && own.iter().all(|tag| tags.contains(tag)), "{what}: tags {own:?} of {tags:?}");

            let route = &zones[&path];
            let security = &operation["security"];
            if is_guarded(route) || route.policy.area == Area::App {
                assert_eq!(*security, json!([{"bearer": []}]), "{what}");
            } else {
                assert!(security.is_null(), "{what}: {security}");
            }
            let responses = operation["responses"].as_object().unwrap();
            let has = |status: &str| responses.contains_key(status);
            let upgrades = route.policy.lifetime == Lifetime::Socket && has("101");
            assert!(upgrades || responses.keys().any(|status| status.starts_with('2')), "{what} has no 2xx response");
            assert!(has("500"), "{what} has no 500 response");
            assert_eq!(has("401") && has("403"), is_guarded(route) || (has("401") && has("403")), "{what}: 401, 403");
            assert!(route.policy.budget.is_none() || has("429"), "{what}: 429");
            if operation["requestBody"]["content"]["application/json"].is_object() {
                assert!(["400", "413", "415", "422"].iter().all(|status| has(status)), "{what}: {:?}", responses.keys());
            }
            for parameter in path.split('/').filter_map(|segment| segment.strip_prefix('{')) {
                let name = parameter.trim_end_matches('}');
                let described = operation["parameters"].as_array().into_iter().flatten().any(|p| p["in"] == "path" && p["name"] == name);
                assert!(described, "{what}: {name}");
            }
        }
        let scheme = &document["components"]["securitySchemes"]["bearer"];
        assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    }
}

#[test]
fn openapi_error_responses_use_the_error_schema() {
    for document in documents() {
        for (path, method, operation) in operations(&document) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = resolve(&document, response);
                assert!(response["description"].is_string(), "{method} {path} {status}");
                // The 503 of the readiness probe has its own body.
                if !status.starts_with(['4', '5']) || (path.ends_with("/health/ready") && status == "503") {
                    continue;
                }
                let what = format!("{method} {path} {status}");
                let content = &response["content"]["application/json"];
                let example = &content["example"]["error"];
                assert!(
                    example["code"].is_string() && example["message"].is_string() && example["details"].is_object(),
                    "{what}: {content}"
                );
                let error = resolve(&document, &resolve(&document, &content["schema"])["properties"]["error"]);
                for member in ["code", "message", "details"] {
                    assert!(error["properties"][member].is_object(), "{what}: {member}");
                    assert!(error["required"].as_array().unwrap().contains(&member.into()), "{what}: {member}");
                }
            }
        }
    }
}

#[test]
fn openapi_json_bodies_have_examples() {
    for document in documents() {
        let has_example = |content: &Value| {
            let mut found = false;
            let schema = resolve(&document, &content["schema"]);
            walk(content, &mut |value| found |= value.get("example").is_some());
            walk(schema, &mut |value| {
                found |= value.get("example").is_some();
                // A list uses the example of its items.
                found |= value.get("$ref").is_some() && resolve(&document, value).get("example").is_some();
            });
            found
        };
        for (path, method, operation) in operations(&document) {
            let body = &operation["requestBody"]["content"];
            let responses = operation["responses"].as_object().unwrap().iter();
            let contents = responses.map(|(_, response)| &resolve(&document, response)["content"]).chain([body]);
            for content in contents.filter_map(Value::as_object).flat_map(|content| content.values()) {
                assert!(has_example(content), "{method} {path}: {content}");
            }
        }
    }
}

#[test]
fn openapi_references_resolve_and_schemas_are_used() {
    for document in documents() {
        assert!(document["openapi"].as_str().unwrap().starts_with("3."));
        let mut used = BTreeSet::new();
        walk(&document, &mut |value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                resolve(&document, value);
                used.insert(reference.rsplit('/').next().unwrap().to_owned());
            }
        });
        let defined: BTreeSet<_> = document["components"]["schemas"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(defined.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

#[tokio::test]
async fn openapi_document_is_served_with_configured_title() {
    let t = TestApp::with_accounts(Backend::Sqlite, &[("PROJECT_NAME", "Rocket & <Co>")]).await;
    let reply = t.anonymous().get("/openapi.json").await;
    super::headers::carries_what_every_answer_does("document", &reply);
    super::headers::tells_its_budget("document", &reply, false);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let served = reply.expect(200);
    assert_eq!(served["info"]["title"], "Rocket & <Co>");
    assert_eq!(served["paths"], document(Version::V1)["paths"]);
    let second = t.anonymous().get("//api/v2/openapi.json").await;
    super::headers::carries_what_every_answer_does("document of v2", &second);
    let second = second.expect(200);
    assert_eq!((&second["info"]["title"], &second["paths"]), (&json!("Rocket & <Co>"), &document(Version::V2)["paths"]));
    let moved = TestApp::with(Backend::Sqlite, &[("API_V1_STR", "/description"), ("API_V2_STR", "/description/2")]).await;
    for (path, described) in
        [("//description/openapi.json", "/api/v1/app/users/me"), ("//description/2/openapi.json", "/api/v2/app/users/me")]
    {
        assert!(moved.anonymous().get(path).await.expect(200)["paths"][described].is_object(), "{path}");
    }
    moved.anonymous().get("/public/health").await.expect(200);
}

#[cfg(feature = "docs-ui")]
#[tokio::test]
async fn docs_pages_load_only_own_resources() {
    let t = TestApp::with(Backend::Sqlite, &[("PROJECT_NAME", "Rocket & <Co>")]).await;
    for path in ["//docs", "//redoc"] {
        let page = t.anonymous().get(path).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        let sources: Vec<_> = policy.split(';').map(str::trim).collect();
        assert!(sources.contains(&"default-src 'none'") && sources.contains(&"script-src 'self'"), "{policy}");
        assert!(sources.contains(&"frame-ancestors 'none'") && sources.contains(&"connect-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe-eval") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        let html = page.text();
        assert!(html.contains("Rocket &amp; &lt;Co&gt;") && !html.contains("://"), "{html}");
        assert!(!html.contains("<script>"), "an inline script is blocked by the content security policy: {html}");
        // Every referenced file exists and has the right content type.
        for (attribute, kind) in [("src=\"", "javascript"), ("rel=\"stylesheet\" href=\"", "css")] {
            for rest in html.split(attribute).skip(1) {
                let file = rest.split('"').next().unwrap();
                let reply = t.anonymous().get(&format!("//{file}")).await;
                assert_eq!(reply.status, 200, "{file}");
                assert!(reply.header("content-type").unwrap().contains(kind), "{file}: {:?}", reply.headers);
                assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            }
        }
        t.anonymous().get(&format!("{path}/nothing.js")).await.expect_error(404, "NOT_FOUND");
        t.anonymous().get(&format!("{path}/..%2fCargo.toml")).await.expect_error(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn openapi_in_production_is_not_served() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let t = TestApp::with(Backend::Postgres, &PRODUCTION).await;
    for path in
        ["/openapi.json", "//api/v2/openapi.json", "//docs", "//redoc", "//docs/swagger-ui.css", "//redoc/scalar.js", "//openapi.json"]
    {
        t.anonymous().get(path).await.expect_error(404, "NOT_FOUND");
    }
    t.anonymous().get("/public/health/ready").await.expect(200);
}
