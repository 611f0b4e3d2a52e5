//! Planted changes: each break is found, and what may change is not reported.

use serde_json::{Value, json};

use super::breaking_changes;

/// A document with everything that is compared.
fn notes() -> Value {
    let list = json!({"type": "object", "required": ["items", "total"], "properties": {
        "items": {"type": "array", "items": {"$ref": "#/components/schemas/Note"}}, "total": {"type": "integer", "format": "int64"}}});
    let note = json!({"type": "object", "required": ["id", "state"], "properties": {
        "id": {"type": "string"}, "text": {"type": ["string", "null"]}, "state": {"$ref": "#/components/schemas/State"},
        "created_at": {"type": "string", "format": "date-time"}, "parent": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Note"}]}}});
    let create = json!({"type": "object", "required": ["text"], "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 100}, "color": {"type": ["string", "null"], "enum": ["red", "blue", null]},
        "labels": {"type": "array", "maxItems": 5, "items": {"type": "string"}}, "count": {"type": "integer", "minimum": 0},
        "of": {"oneOf": [{"type": "string"}, {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}]}}});
    let get = json!({"security": [{"bearer": []}],
        "parameters": [{"in": "query", "name": "limit", "required": false, "schema": {"type": "integer", "maximum": 100}}],
        "responses": {"200": {"headers": {"ETag": {}}, "content": {"application/json": {"schema": list}}}, "404": {"content": {}}}});
    let post = json!({"requestBody": {"required": false, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CreateNote"}}}},
        "responses": {"201": {"content": {"application/json": {"schema": {"allOf": [
            {"$ref": "#/components/schemas/Note"}, {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}]}}}}}});
    json!({"paths": {"/notes": {"get": get, "post": post}, "/old": {"get": {"responses": {"204": {}}}}},
        "components": {"schemas": {"Note": note, "CreateNote": create, "State": {"type": "string", "enum": ["draft", "sent"]}}}})
}

/// The document with another value at this pointer; null removes it.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = notes();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}")).as_object_mut().unwrap();
    if value.is_null() {
        assert!(parent.remove(&member.replace("~1", "/")).is_some(), "{pointer}");
    } else {
        parent.insert(member.replace("~1", "/"), value);
    }
    document
}

const GET: &str = "/paths/~1notes/get";
const POST: &str = "/paths/~1notes/post";
const LIMIT: &str = "/paths/~1notes/get/parameters/0";
const LIST: &str = "/paths/~1notes/get/responses/200/content/application~1json/schema";
const NOTE: &str = "/components/schemas/Note";
const CREATE: &str = "/components/schemas/CreateNote";

#[test]
fn breaking_change_of_an_operation_is_found() {
    for (parent, member, value, found) in [
        ("/paths", "~1old", json!(null), "/old was removed"),
        ("/paths/~1notes", "post", json!(null), "POST /notes was removed"),
        (GET, "parameters", json!([]), "GET /notes query:limit was removed"),
        (LIMIT, "required", json!(true), "GET /notes query:limit is required now"),
        (LIMIT, "in", json!("header"), "GET /notes query:limit was removed"),
        (LIMIT, "schema", json!({"type": "integer", "maximum": 50}), "GET /notes query:limit has a narrower maximum now"),
        (LIMIT, "schema", json!({"type": "string"}), "GET /notes query:limit was of type integer, now string"),
        (POST, "parameters", json!([{"in": "query", "name": "x", "required": true}]), "POST /notes query:x is new and required"),
        (POST, "security", json!([{"bearer": []}]), "POST /notes needs a token now"),
        (GET, "security", json!([{"cookie": []}]), "GET /notes takes other credentials now"),
        (POST, "requestBody", json!(null), "POST /notes <- was removed"),
        (&format!("{POST}/requestBody"), "required", json!(true), "POST /notes <- is required now"),
        (&format!("{POST}/requestBody"), "content", json!({"text/plain": {}}), "POST /notes <- application/json was removed"),
        ("/paths/~1old/get", "requestBody", json!({"required": true}), "GET /old <- is new and required"),
        (&format!("{GET}/responses"), "404", json!(null), "GET /notes -> 404 was removed"),
        (&format!("{GET}/responses/200"), "headers", json!({}), "GET /notes -> 200 header ETag was removed"),
        (&format!("{GET}/responses/200"), "content", json!({}), "GET /notes -> 200 application/json was removed"),
    ] {
        assert_eq!(breaking_changes(&notes(), &with(&format!("{parent}/{member}"), value)), [found]);
    }
}

#[test]
fn breaking_change_of_a_request_schema_is_found() {
    for (member, value, found) in [
        ("required", json!(["text", "color"]), "color is required now"),
        ("required", json!(["text", "extra"]), "extra is new and required"),
        ("properties/labels", json!(null), "labels was removed"),
        ("properties/text/type", json!("integer"), "text was of type string, now integer"),
        ("properties/text/minLength", json!(2), "text has a narrower minLength now"),
        ("properties/text/maxLength", json!(99), "text has a narrower maxLength now"),
        ("properties/text/pattern", json!("^a"), "text has another pattern now"),
        ("properties/text/format", json!("uri"), "text was of format \"\", now \"uri\""),
        ("properties/text/enum", json!(["a"]), "text takes certain values only now"),
        ("properties/color/enum", json!(["red", null]), "color refuses \"blue\" now"),
        ("properties/color/type", json!("string"), "color refuses null now"),
        ("properties/labels/items", json!({"type": "integer"}), "labels[] was of type string, now integer"),
        ("properties/labels/maxItems", json!(4), "labels has a narrower maxItems now"),
        ("properties/of/oneOf", json!([{"type": "string"}]), "of (alternative 2) is refused now"),
        ("properties/of/oneOf/1/required", json!(["id", "kind"]), "of (alternative 2) is refused now"),
    ] {
        let found = format!("POST /notes <-.{found}");
        let changed = if let Some(rest) = member.strip_prefix("properties/of/oneOf/1/") {
            let mut changed = notes();
            changed.pointer_mut(&format!("{CREATE}/properties/of/oneOf/1")).unwrap()[rest] = value;
            changed
        } else {
            with(&format!("{CREATE}/{member}"), value)
        };
        assert_eq!(breaking_changes(&notes(), &changed), [found], "{member}");
    }
    let closed = with(&format!("{CREATE}/additionalProperties"), json!(false));
    assert_eq!(breaking_changes(&notes(), &closed), ["POST /notes <- refuses unknown members now"]);
}

#[test]
fn breaking_change_of_a_response_schema_is_found() {
    for (pointer, value, found) in [
        (format!("{LIST}/properties/total"), json!(null), ".total was removed"),
        (format!("{LIST}/required"), json!(["items"]), ".total can be absent now"),
        (format!("{LIST}/properties/total/type"), json!("number"), ".total was of type integer, now number"),
        (format!("{LIST}/properties/total/format"), json!("int32"), ".total was of format \"int64\", now \"int32\""),
        (format!("{LIST}/properties/items/type"), json!("object"), ".items was of type array, now object"),
        (format!("{NOTE}/properties/id/type"), json!(["string", "null"]), ".items[].id can be null now"),
        (format!("{NOTE}/properties/id/type"), json!(["string", "integer"]), ".items[].id (alternative 2) is new"),
        (format!("{NOTE}/properties/id"), json!({}), ".items[].id was of type string, now any"),
        (format!("{NOTE}/properties/text"), json!(null), ".items[].text was removed"),
        // Named schemas are reported where they are met first.
        ("/components/schemas/State/enum".to_owned(), json!(["draft", "sent", "lost"]), ".items[].parent.state can be \"lost\" now"),
        ("/components/schemas/State/enum".to_owned(), json!(null), ".items[].parent.state can be any value now"),
    ] {
        let changes = breaking_changes(&notes(), &with(&pointer, value));
        let found = format!("GET /notes -> 200{found}");
        assert!(changes.contains(&found), "{found}: {changes:?}");
        // The same of the note's parent, and of a created note.
        let again = |change: &String| change.starts_with("POST /notes -> 201.") || change.contains(".parent.");
        assert!(changes.iter().all(|change| *change == found || again(change)), "{changes:?}");
    }
    // Through `allOf` and from a member of its own.
    let created = format!("{POST}/responses/201/content/application~1json/schema");
    let without_size = with(&created, json!({"$ref": "#/components/schemas/Note"}));
    assert_eq!(breaking_changes(&notes(), &without_size), ["POST /notes -> 201.size was removed"]);
}

#[test]
fn addition_and_relaxation_are_no_breaking_changes() {
    assert_eq!(breaking_changes(&notes(), &notes()), Vec::<String>::new());
    for (pointer, value) in [
        ("/paths/~1new".to_owned(), json!({"get": {"responses": {"200": {}}}})),
        ("/paths/~1old/post".to_owned(), json!({"responses": {"204": {}}})),
        (format!("{POST}/parameters"), json!([{"in": "query", "name": "x", "required": false, "schema": {"type": "string"}}])),
        (format!("{GET}/security"), json!(null)),
        (format!("{GET}/security"), json!([{"bearer": []}, {"cookie": []}])),
        (format!("{GET}/responses/429"), json!({})),
        (format!("{GET}/description"), json!("Another text")),
        (format!("{LIMIT}/schema"), json!({"type": "number"})),
        ("/paths/~1old/get/requestBody".to_owned(), json!({"required": false})),
        (format!("{LIST}/properties/next"), json!({"type": "string"})),
        (format!("{LIST}/required"), json!(["items", "total", "next"])),
        (format!("{NOTE}/properties/text/type"), json!("string")),
        (format!("{NOTE}/required"), json!(["id", "state", "text"])),
        ("/components/schemas/State/enum".to_owned(), json!(["sent"])),
        (format!("{CREATE}/properties/extra"), json!({"type": "string"})),
        (format!("{CREATE}/required"), json!(null)),
        (format!("{CREATE}/properties/text/maxLength"), json!(200)),
        (format!("{CREATE}/properties/text/minLength"), json!(null)),
        (format!("{CREATE}/properties/count/type"), json!("number")),
        (format!("{CREATE}/properties/color/enum"), json!(["red", "blue", "green", null])),
        (format!("{CREATE}/properties/color/enum"), json!(null)),
        (
            format!("{CREATE}/properties/of/oneOf"),
            json!([{"type": "object", "properties": {"id": {"type": "string"}}}, {"type": "string"}, {"type": "integer"}]),
        ),
    ] {
        let changes = breaking_changes(&notes(), &with(&pointer, value));
        assert_eq!(changes, Vec::<String>::new(), "{pointer}");
    }
}

#[test]
fn renamed_schema_of_the_same_shape_is_no_breaking_change() {
    let text = notes()
        .to_string()
        .replace("CreateNote", "NoteDraft")
        .replace("schemas/State", "schemas/Stage")
        .replace("\"State\":", "\"Stage\":");
    assert_eq!(breaking_changes(&notes(), &serde_json::from_str(&text).unwrap()), Vec::<String>::new());
}
