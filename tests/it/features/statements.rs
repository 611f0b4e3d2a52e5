//! Number of SQL statements per request when the caller's identity is cached. A change costs one more, which stores it for streams of
//! events.

use serde_json::json;

use crate::harness::{Backend, TestApp, statements};

crate::on_both_backends![
    request_known_caller_runs_one_statement,
    change_runs_its_statement_and_stores_one_event,
    cursor_page_known_caller_runs_one_statement,
    request_rejected_early_runs_no_statement,
    users_me_known_caller_runs_one_statement,
    idempotent_post_runs_four_statements_replay_two,
];

async fn request_known_caller_runs_one_statement(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    admin.get("/admin/users").await.expect(200);
    let project = amy.project("Apollo").await;
    let path = format!("/app/projects/{}", project["id"].as_str().unwrap());
    for (call, begins) in [
        (amy.get("/app/users/me"), "SELECT"),
        (amy.get(&path), "SELECT"),
        (amy.get("/app/projects"), "SELECT"),
        (amy.get("/app/projects?limit=1&search=apollo"), "SELECT"),
        (amy.patch(&path, json!({})), "SELECT"),
        (admin.get("/admin/users"), "SELECT"),
        (admin.get("/admin/users/amy"), "SELECT"),
    ] {
        let (reply, ran) = statements(call).await;
        assert!(reply.status.is_success(), "{}", reply.text());
        assert!(ran.len() <= 1 && ran.iter().all(|sql| sql.starts_with(begins)), "{begins}: {ran:#?}");
    }
}

async fn change_runs_its_statement_and_stores_one_event(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let path = format!("/app/projects/{}", amy.project("Apollo").await["id"].as_str().unwrap());
    for (call, begins) in [
        (amy.post("/app/projects", json!({"name": "Gemini"})), "INSERT INTO projects"),
        (amy.patch(&path, json!({"name": "Mercury"})), "UPDATE projects"),
        (amy.delete(&path), "UPDATE projects"),
    ] {
        let (reply, ran) = statements(call).await;
        assert!(reply.status.is_success(), "{}", reply.text());
        let (own, event) = ran.split_first().unwrap();
        assert!(own.starts_with(begins), "{begins}: {ran:#?}");
        assert!(event.len() <= 1 && event.iter().all(|sql| sql.starts_with("INSERT INTO")), "{begins}: {ran:#?}");
    }
}

async fn cursor_page_known_caller_runs_one_statement(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    for n in 0..3 {
        amy.project(&format!("project {n}")).await;
    }
    admin.get("/admin/users").await.expect(200);
    for (client, path) in [(&amy, "/app/projects?limit=1"), (&amy, "/app/projects?limit=1&search=project"), (&admin, "/admin/users?limit=1")] {
        let (first, ran) = statements(client.get(path).query(&[("cursor", "")])).await;
        assert!(ran.len() <= 1, "{ran:#?}");
        let cursor = first.expect(200)["next_cursor"].as_str().unwrap().to_owned();
        let (_, ran) = statements(client.get(path).query(&[("cursor", &cursor)])).await;
        assert!(ran.len() <= 1, "{ran:#?}");
    }
}

async fn request_rejected_early_runs_no_statement(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for (call, status) in [
        (amy.post("/app/projects", json!({"name": ""})).key("k"), 422),
        (amy.get("/app/projects?limit=0"), 422),
        (amy.get("/app/projects?cursor=x"), 422),
        (amy.get("/app/projects/nonsense"), 404),
        (amy.get("/admin/users"), 403),
        (t.anonymous().get("/app/users/me"), 401),
        (amy.get("/app/nothing"), 404),
        (t.anonymous().get("/public/health"), 200),
    ] {
        let (reply, ran) = statements(call).await;
        assert_eq!((reply.status.as_u16(), ran), (status, vec![]));
    }
}

async fn users_me_known_caller_runs_one_statement(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let other = t.second(&[]).await.with_token(amy.token.as_ref().unwrap());
    for expected in [1, 1] {
        let (reply, ran) = statements(other.get("/app/users/me")).await;
        reply.expect(200);
        assert!(ran.len() <= expected, "{ran:#?}");
    }
}

async fn idempotent_post_runs_four_statements_replay_two(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for expected in [4, 2, 2] {
        let (reply, ran) = statements(amy.post("/app/projects", json!({"name": "Apollo"})).key("k")).await;
        reply.expect(201);
        assert!(ran.len() <= expected, "{ran:#?}");
    }
}
