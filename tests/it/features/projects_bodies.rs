//! Validation of project bodies: lengths, types, JSON syntax, content type and size.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, Reply, TestApp};

crate::on_both_backends![
    project_null_clears_description_but_not_name,
    project_unknown_fields_are_ignored,
];
crate::on_sqlite![
    project_name_over_255_code_points_returns_422,
    project_description_over_2000_code_points_returns_422,
    project_blank_name_returns_422,
    project_text_with_nul_returns_422,
    project_field_of_wrong_type_returns_422,
    project_several_errors_are_reported_together,
    project_body_not_an_object_returns_422,
    project_malformed_json_returns_400,
    project_other_content_type_returns_415,
    project_body_over_limit_returns_413,
    project_body_over_limit_without_token_returns_413,
];

async fn post(amy: &Client, body: &str) -> Reply {
    amy.call(Method::POST, "/app/projects").body("application/json", body.to_owned()).await
}

/// Sends the fields in a POST (new project) and in a PATCH (existing project).
async fn both(amy: &Client, members: Value) -> [Reply; 2] {
    let project = amy.project("before").await;
    let path = format!("/app/projects/{}", project["id"].as_str().unwrap());
    let mut new = json!({"name": "new"});
    new.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    [amy.post("/app/projects", new).await, amy.patch(&path, members).await]
}

async fn accepted(amy: &Client, members: Value) {
    for reply in both(amy, members.clone()).await {
        assert!(reply.status.is_success(), "{members}: {}", reply.text());
        for (member, value) in members.as_object().unwrap() {
            assert_eq!(reply.json()[member], *value);
        }
    }
}

async fn refused(amy: &Client, members: Value, fields: &[&str]) {
    for reply in both(amy, members).await {
        assert_eq!(reply.expect_invalid(), fields);
    }
}

async fn project_name_over_255_code_points_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for sign in ["x", "é", "語", "🚀", "e\u{301}"] {
        let one = sign.chars().count();
        accepted(&amy, json!({"name": sign})).await;
        accepted(&amy, json!({"name": sign.repeat(255 / one)})).await;
        refused(&amy, json!({"name": sign.repeat(256 / one + usize::from(256 % one != 0))}), &["name"]).await;
    }
    refused(&amy, json!({"name": ""}), &["name"]).await;
}

async fn project_description_over_2000_code_points_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for sign in ["x", "🚀"] {
        accepted(&amy, json!({"description": sign.repeat(2000)})).await;
        refused(&amy, json!({"description": sign.repeat(2001)}), &["description"]).await;
    }
    accepted(&amy, json!({"description": ""})).await;
    accepted(&amy, json!({"description": " \n\t "})).await;
}

async fn project_blank_name_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for blank in [" ", "\t\r\n", "\u{3000}", "\u{2003}\u{a0} ", "\u{85}", "\u{2028}"] {
        refused(&amy, json!({"name": blank}), &["name"]).await;
    }
    // White space around other characters is kept.
    accepted(&amy, json!({"name": " \u{3000}x "})).await;
}

async fn project_text_with_nul_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for text in ["\0", "a\0b", "a\0"] {
        refused(&amy, json!({"name": text}), &["name"]).await;
        refused(&amy, json!({"description": text}), &["description"]).await;
    }
    accepted(&amy, json!({"name": "\u{1}\u{7f}\u{feff}"})).await;
}

async fn project_null_clears_description_but_not_name(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    accepted(&amy, json!({"description": null})).await;
    refused(&amy, json!({"name": null}), &["name"]).await;
    let project = amy.post("/app/projects", json!({"name": "Apollo", "description": "To the moon"})).await.expect(201);
    let path = format!("/app/projects/{}", project["id"].as_str().unwrap());
    assert_eq!(amy.patch(&path, json!({"name": null, "description": null})).await.expect_invalid(), ["name"]);
    assert_eq!(amy.get(&path).await.expect(200), project, "no part of a rejected change is applied");
    assert_eq!(amy.patch(&path, json!({"description": null})).await.expect(200)["description"], Value::Null);
}

async fn project_field_of_wrong_type_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for wrong in [json!(5), json!(1.5), json!(true), json!([]), json!(["x"]), json!({}), json!({"name": "x"})] {
        refused(&amy, json!({"name": wrong}), &["name"]).await;
        refused(&amy, json!({"description": wrong}), &["description"]).await;
    }
    assert_eq!(amy.post("/app/projects", json!({"description": "a name is missing"})).await.expect_invalid(), ["name"]);
    assert_eq!(amy.post("/app/projects", json!({})).await.expect_invalid(), ["name"]);
}

async fn project_several_errors_are_reported_together(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for reply in both(&amy, json!({"name": " ", "description": 7})).await {
        let mut fields = reply.expect_invalid();
        fields.sort();
        assert_eq!(fields, ["description", "name"]);
    }
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 1, "only the project that `both` patches exists");
}

async fn project_body_not_an_object_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let project = amy.project("Apollo").await;
    let path = format!("/app/projects/{}", project["id"].as_str().unwrap());
    for body in [json!([]), json!([{"name": "x"}]), json!("x"), json!(5), json!(true), json!(null)] {
        assert_eq!(amy.post("/app/projects", body.clone()).await.expect_invalid(), ["body"]);
        assert_eq!(amy.patch(&path, body).await.expect_invalid(), ["body"]);
    }
}

async fn project_malformed_json_returns_400(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let deep = "[".repeat(100_000);
    for body in ["", "{", "nothing", "{'name': 'x'}", r#"{"name": "x"} more"#, r#"{"name": "x",}"#, r#"{"name": "\ud800"}"#, &deep] {
        post(&amy, body).await.expect_error(400, "BAD_REQUEST");
    }
    let not_utf8 = b"{\"name\": \"\xff\"}".as_slice();
    amy.call(Method::POST, "/app/projects").body("application/json", not_utf8).await.expect_error(400, "BAD_REQUEST");
    assert_eq!(post(&amy, r#"{"name": "\ud83d\ude80"}"#).await.expect(201)["name"], "🚀");
}

async fn project_other_content_type_returns_415(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let send = |method: Method, path: &str, kind: &str| amy.call(method, path).body(kind, r#"{"name": "x"}"#);
    let project = amy.project("Apollo").await;
    let path = format!("/app/projects/{}", project["id"].as_str().unwrap());
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/merge-patch+json"] {
        send(Method::POST, "/app/projects", kind).await.expect(201);
        send(Method::PATCH, &path, kind).await.expect(200);
    }
    for kind in ["text/plain", "text/json", "application/x-www-form-urlencoded", "application/jsonx", "json", "", "multipart/form-data"] {
        send(Method::POST, "/app/projects", kind).await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
        send(Method::PATCH, &path, kind).await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    // Without a body the error is the missing body, not the content type.
    assert_eq!(amy.call(Method::POST, "/app/projects").await.expect_error(422, "VALIDATION_ERROR")["field"], "body");
}

async fn project_unknown_fields_are_ignored(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, _bob) = (t.user("amy").await, t.user("bob").await);
    let theirs = uuid::Uuid::now_v7().to_string();
    let extra = json!({"name": "x", "id": theirs, "owner_id": "bob", "deleted_at": "2026-01-10T12:00:00Z", "extra": {"a": [1]}, "": null});
    for reply in both(&amy, extra).await {
        let project = reply.json();
        assert_eq!(project["owner_id"], "amy");
        assert_ne!(project["id"], theirs.as_str());
        assert!(project.get("extra").is_none(), "{project}");
    }
    // If a member is repeated, the last value applies, as in most JSON parsers.
    assert_eq!(post(&amy, r#"{"name": "", "name": "second"}"#).await.expect(201)["name"], "second");
}

async fn project_body_over_limit_returns_413(b: Backend) {
    let t = TestApp::with(b, &[("MAX_BODY_BYTES", "4096")]).await;
    let amy = t.user("amy").await;
    // Pads with white space: the body stays valid JSON and only its size differs.
    let sized = |bytes: usize| format!("{:bytes$}", r#"{"name": "x"}"#);
    let in_pieces = |text: String| {
        let pieces: Vec<_> = text.as_bytes().chunks(1000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
    };
    let call = || amy.call(Method::POST, "/app/projects");
    call().body("application/json", sized(4096)).await.expect(201);
    call().body("application/json", in_pieces(sized(4096))).await.expect(201);
    for reply in [
        call().body("application/json", sized(4097)).await,
        call().body("application/json", in_pieces(sized(4097))).await,
        // More than the socket buffers hold: the response must reach a client that is still sending.
        call().body("application/json", " ".repeat(20_000_000)).await,
        call().body("application/json", in_pieces(" ".repeat(20_000_000))).await,
    ] {
        assert_eq!(reply.expect_error(413, "PAYLOAD_TOO_LARGE"), json!({"limit": 4096}));
    }
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 2);
}

async fn project_body_over_limit_without_token_returns_413(b: Backend) {
    let t = TestApp::start(b).await;
    let big = " ".repeat(1024 * 1024 + 1);
    let reply = t.anonymous().call(Method::POST, "/app/projects").body("application/json", big).await;
    assert_eq!(reply.expect_error(413, "PAYLOAD_TOO_LARGE"), json!({"limit": 1024 * 1024}));
}
