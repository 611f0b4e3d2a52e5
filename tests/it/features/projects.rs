//! Stories about projects.

use serde_json::json;

use crate::harness::{Backend, TestApp};

crate::on_both_backends![create_and_list, a_replayed_key_creates_once];

async fn create_and_list(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let made = amy.project("Apollo").await;
    assert_eq!(amy.get("/app/projects").await.expect(200), json!({"items": [made], "total": 1, "skip": 0, "limit": 20}));
}

async fn a_replayed_key_creates_once(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let first = amy.post("/app/projects", json!({"name": "x"})).key("k1").await.expect(201);
    let again = amy.post("/app/projects", json!({"name": "x"})).key("k1").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.expect(201), first);
    amy.post("/app/projects", json!({"name": "y"})).key("k1").await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 1);
}
