//! Version 1 of the API does not break its clients: its OpenAPI document is compared with `openapi_v1_baseline.json`, the one
//! that clients were made from.
//!
//! The snapshot (`snapshots/…api.snap`) shows every change to a reviewer and is renewed with each. The baseline is a promise: it
//! is renewed on purpose, by `UPDATE_BASELINE=1`, with a release that adds to version 1, or where a break is decided.

use std::fmt::Write as _;
use std::path::Path;

use omnistack::platform::http::Version;
use serde_json::{Map, Value, json};

use super::breaking::breaking_changes;
use super::document;

const BASELINE: &str = "tests/it/contract/openapi_v1_baseline.json";
/// Members that say nothing about the shape of requests and responses.
const PROSE: [&str; 7] = ["description", "summary", "example", "examples", "tags", "operationId", "title"];

/// A part of the document without its texts. `names` tells that the members of an object are names, not keywords: a property
/// can be called `description`.
fn bare(value: &Value, names: bool) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, _)| names || !PROSE.contains(&key.as_str()));
            let is_names = |key: &str| !names && matches!(key, "properties" | "schemas" | "responses" | "headers" | "content");
            kept.map(|(key, value)| (key.clone(), bare(value, is_names(key)))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(|item| bare(item, false)).collect(),
        other => other.clone(),
    }
}

/// The document as the file holds it: one line for each operation and each schema, so that a diff is readable.
fn written(document: &Value) -> String {
    let block = |entries: Vec<String>| format!("{{\n{}\n}}", entries.join(",\n"));
    let lines =
        |members: &Value| block(members.as_object().unwrap().iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect());
    let paths = document["paths"].as_object().unwrap().iter().map(|(path, item)| format!("{}: {}", json!(path), lines(item)));
    let mut text = String::new();
    let _ = writeln!(text, "{{\"paths\": {},", block(paths.collect()));
    let _ = writeln!(text, "\"components\": {{\"schemas\": {}}}}}", lines(&document["components"]["schemas"]));
    text
}

#[test]
fn openapi_of_v1_breaks_no_client() {
    let current = bare(&document(Version::V1), false);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(BASELINE);
    if std::env::var("UPDATE_BASELINE").is_ok_and(|value| value == "1") {
        std::fs::write(&file, written(&current)).unwrap();
    }
    let baseline: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let found = breaking_changes(&baseline, &current);
    assert!(
        found.is_empty(),
        "these changes break clients of version 1. Keep it as it was and add the new shape to the next version \
         (docs/versioning.md), or renew {BASELINE} by UPDATE_BASELINE=1 if the break is decided:\n{}",
        found.join("\n")
    );
}

#[test]
fn baseline_notices_breaks_of_the_real_document() {
    let current = bare(&document(Version::V1), false);
    assert_eq!(serde_json::from_str::<Value>(&written(&current)).unwrap()["paths"], current["paths"]);
    let me = "/paths/~1api~1v1~1app~1users~1me";
    let mut without = current.clone();
    without.pointer_mut(me).unwrap().as_object_mut().unwrap().remove("patch");
    assert_eq!(breaking_changes(&current, &without), ["PATCH /api/v1/app/users/me was removed"]);
    for (member, found) in [("email", ".email was removed"), ("role", ".role was removed")] {
        let mut without = current.clone();
        without.pointer_mut("/components/schemas/UserRead/properties").unwrap().as_object_mut().unwrap().remove(member);
        let changes = breaking_changes(&current, &without);
        assert!(changes.contains(&format!("GET /api/v1/app/users/me -> 200{found}")), "{changes:?}");
    }
    let mut narrower = current.clone();
    narrower.pointer_mut("/components/schemas/UpdateMe/properties/full_name").unwrap()["maxLength"] = json!(100);
    assert_eq!(breaking_changes(&current, &narrower), ["PATCH /api/v1/app/users/me <-.full_name has a narrower maxLength now"]);
    let mut wider = current.clone();
    wider.pointer_mut("/components/schemas/Role/enum").unwrap().as_array_mut().unwrap().push(json!("guest"));
    assert!(breaking_changes(&current, &wider).iter().any(|change| change.ends_with(".role can be \"guest\" now")));
}
