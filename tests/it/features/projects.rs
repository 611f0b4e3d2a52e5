//! Projects: create, read, update and delete, by the owner only.

use chrono::TimeDelta;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    project_create_read_update_delete_succeeds,
    project_list_after_create_contains_project,
    project_patch_changes_only_given_fields,
    project_patch_without_fields_changes_nothing,
    project_duplicate_name_is_accepted,
    project_of_another_user_returns_404,
    project_any_missing_id_returns_identical_404,
    project_deleted_is_absent_from_lists,
    project_patch_invalid_body_is_rejected_before_lookup,
    project_write_is_visible_on_other_instance,
    project_routes_without_token_return_401,
];

/// Path of a project.
fn path(project: &Value) -> String {
    format!("/app/projects/{}", project["id"].as_str().unwrap())
}

async fn project_create_read_update_delete_succeeds(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let reply = amy.post("/app/projects", json!({"name": "Apollo", "description": "To the moon"})).await;
    let location = reply.header("location").unwrap().to_owned();
    let made = reply.expect(201);
    assert_eq!(location, format!("/api/v1{}", path(&made)));
    let now = t.clock.now();
    assert_eq!(
        made,
        json!({"id": made["id"], "name": "Apollo", "description": "To the moon", "owner_id": "amy", "created_at": now, "updated_at": now})
    );
    let id = made["id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().to_string(), id);
    assert_eq!(amy.get(&format!("/{location}")).await.expect(200), made);

    let changed = amy.patch(&path(&made), json!({"name": "Gemini"})).await.expect(200);
    assert_eq!(amy.get(&path(&made)).await.expect(200), changed);

    let gone = amy.delete(&path(&made)).await;
    assert!(gone.body.is_empty());
    gone.expect(204);
    for method in [Method::GET, Method::DELETE] {
        amy.call(method, &path(&made)).await.expect_error(404, "NOT_FOUND");
    }
    amy.patch(&path(&made), json!({"name": "Mercury"})).await.expect_error(404, "NOT_FOUND");
}

async fn project_list_after_create_contains_project(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let made = amy.project("Apollo").await;
    assert_eq!(amy.get("/app/projects").await.expect(200), json!({"items": [made], "total": 1, "skip": 0, "limit": 20}));
}

async fn project_patch_changes_only_given_fields(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let mut project = amy.post("/app/projects", json!({"name": "Apollo", "description": "To the moon"})).await.expect(201);
    for change in [json!({"name": "Gemini"}), json!({"description": "Around it"}), json!({"description": null}), json!({"description": ""})] {
        t.clock.advance(TimeDelta::seconds(1));
        let changed = amy.patch(&path(&project), change.clone()).await.expect(200);
        for (member, value) in change.as_object().unwrap() {
            project[member] = value.clone();
        }
        project["updated_at"] = json!(t.clock.now());
        assert_eq!(changed, project);
    }
}

async fn project_patch_without_fields_changes_nothing(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let project = amy.project("Apollo").await;
    t.clock.advance(TimeDelta::hours(1));
    for nothing in [json!({}), json!({"owner_id": "bob", "id": "x", "deleted_at": "2026-01-10T12:00:00Z", "created_at": null})] {
        assert_eq!(amy.patch(&path(&project), nothing).await.expect(200), project);
    }
    assert_eq!(amy.get(&path(&project)).await.expect(200), project);
    amy.patch("/app/projects/none", json!({})).await.expect_error(404, "NOT_FOUND");
}

async fn project_duplicate_name_is_accepted(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    assert_ne!(amy.project("Apollo").await["id"], amy.project("Apollo").await["id"]);
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 2);
}

async fn project_of_another_user_returns_404(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    // Administrators cannot access other users' projects either.
    let admin = t.admin().await;
    let project = amy.project("Apollo").await;
    for stranger in [bob, admin] {
        stranger.get(&path(&project)).await.expect_error(404, "NOT_FOUND");
        stranger.patch(&path(&project), json!({"name": "Mine"})).await.expect_error(404, "NOT_FOUND");
        stranger.patch(&path(&project), json!({})).await.expect_error(404, "NOT_FOUND");
        stranger.delete(&path(&project)).await.expect_error(404, "NOT_FOUND");
        for list in ["/app/projects", "/app/projects?search=apollo"] {
            assert_eq!(stranger.get(list).await.expect(200), json!({"items": [], "total": 0, "skip": 0, "limit": 20}));
        }
        for list in ["/app/projects?cursor=", "/app/projects?cursor=&search=apollo"] {
            assert_eq!(stranger.get(list).await.expect(200), json!({"items": [], "limit": 20, "next_cursor": null}));
        }
    }
    assert_eq!(amy.get(&path(&project)).await.expect(200), project);
}

async fn project_any_missing_id_returns_identical_404(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let deleted = amy.project("Mercury").await;
    amy.delete(&path(&deleted)).await.expect(204);
    let foreign = bob.project("Apollo").await;
    let (deleted, foreign) = (deleted["id"].as_str().unwrap(), foreign["id"].as_str().unwrap());
    let unknown = uuid::Uuid::now_v7().to_string();
    let bare = unknown.replace('-', "");
    let cases = [
        (deleted, deleted),
        (foreign, foreign),
        (&unknown, &unknown),
        (&bare, &bare),
        ("nonsense", "nonsense"),
        ("a%20b%2Fc%7C", "a b/c|"),
        ("%00", "\0"),
        ("%F0%9F%9A%80", "🚀"),
        ("'%20OR%201=1%20--", "' OR 1=1 --"),
    ];
    for (written, id) in cases {
        let path = format!("/app/projects/{written}");
        for reply in [amy.get(&path).await, amy.delete(&path).await, amy.patch(&path, json!({"name": "x"})).await] {
            let message = reply.json()["error"]["message"].clone();
            assert_eq!(message, "Project not found");
            assert_eq!(reply.expect_error(404, "NOT_FOUND"), json!({"resource": "Project", "id": id}));
        }
    }
    // An id that is not valid UTF-8 also returns 404.
    amy.get("/app/projects/%FF").await.expect_error(404, "NOT_FOUND");
}

async fn project_deleted_is_absent_from_lists(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let (kept, gone) = (amy.project("Apollo 11").await, amy.project("Apollo 13").await);
    amy.delete(&path(&gone)).await.expect(204);
    for list in ["/app/projects", "/app/projects?search=apollo"] {
        assert_eq!(amy.get(list).await.expect(200), json!({"items": [kept], "total": 1, "skip": 0, "limit": 20}));
        let beyond = amy.get(list).query(&[("skip", "5")]).await.expect(200);
        assert_eq!(beyond, json!({"items": [], "total": 1, "skip": 5, "limit": 20}));
    }
    for filter in [vec![], vec![("search", "apollo")]] {
        assert_eq!(amy.walk("/app/projects", &filter, 1).await, std::slice::from_ref(&kept));
    }
}

async fn project_patch_invalid_body_is_rejected_before_lookup(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let nowhere = format!("/app/projects/{}", uuid::Uuid::now_v7());
    assert_eq!(amy.patch(&nowhere, json!({"name": ""})).await.expect_invalid(), ["name"]);
    amy.call(Method::PATCH, &nowhere).body("application/json", "{").await.expect_error(400, "BAD_REQUEST");
    amy.call(Method::PATCH, &nowhere).body("text/plain", "{}").await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    amy.patch(&nowhere, json!({"name": "fine"})).await.expect_error(404, "NOT_FOUND");
}

async fn project_write_is_visible_on_other_instance(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let here = t.user("amy").await;
    let there = other.with_token(here.token.as_ref().unwrap());
    for round in 0..10 {
        let made = here.project(&format!("Apollo {round}")).await;
        assert_eq!(there.get(&path(&made)).await.expect(200), made);
        let changed = there.patch(&path(&made), json!({"name": "Gemini"})).await.expect(200);
        assert_eq!(here.get(&path(&made)).await.expect(200), changed);
        there.delete(&path(&made)).await.expect(204);
        here.get(&path(&made)).await.expect_error(404, "NOT_FOUND");
    }
}

async fn project_routes_without_token_return_401(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, nobody) = (t.user("amy").await, t.anonymous());
    let project = amy.project("Apollo").await;
    for reply in [
        nobody.get(&path(&project)).await,
        nobody.get("/app/projects?limit=0").await,
        nobody.post("/app/projects", json!({"name": ""})).await,
        nobody.call(Method::POST, "/app/projects").body("text/plain", "{").await,
        nobody.patch("/app/projects/none", json!([])).await,
        nobody.delete(&path(&project)).await,
    ] {
        reply.expect_error(401, "AUTHENTICATION_ERROR");
    }
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 1);
}
