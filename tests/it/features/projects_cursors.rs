//! Project lists by `cursor`.

use serde_json::{Value, json};

use crate::harness::{Backend, Client, TestApp, ids};

crate::on_both_backends![
    cursor_last_page_has_null_next_cursor,
    cursor_with_skip_returns_422,
    cursor_of_other_list_or_user_returns_422,
    cursor_malformed_returns_422,
    cursor_walk_with_inserts_and_deletes_stays_consistent,
    cursor_at_deleted_row_continues_after_it,
];

async fn page(client: &Client, search: &str, cursor: &str) -> (Vec<Value>, String) {
    let page = client.get("/app/projects").query(&[("limit", "2"), ("search", search), ("cursor", cursor)]).await.expect(200);
    (page["items"].as_array().unwrap().clone(), page["next_cursor"].as_str().unwrap_or_default().to_owned())
}

async fn projects(client: &Client, count: usize) -> Vec<Value> {
    let mut rows = Vec::new();
    for n in 0..count {
        rows.push(client.project(&format!("project {n}")).await);
    }
    rows
}

async fn cursor_last_page_has_null_next_cursor(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let empty = json!({"items": [], "limit": 20, "next_cursor": null});
    assert_eq!(amy.get("/app/projects?cursor=").await.expect(200), empty);
    projects(&amy, 4).await;
    for filter in [&[][..], &[("search", "PROJECT")]] {
        let all = amy.get("/app/projects").query(filter).await.expect(200)["items"].clone();
        for limit in [1, 2, 3, 4, 5, 100] {
            assert_eq!(Value::from(amy.walk("/app/projects", filter, limit).await), all);
        }
        // A page that ends exactly at the last row has no next cursor.
        let page = amy.get("/app/projects?limit=4&cursor=").query(filter).await.expect(200);
        assert_eq!(page, json!({"items": all, "limit": 4, "next_cursor": null}));
    }
}

async fn cursor_with_skip_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    projects(&amy, 3).await;
    let (_, cursor) = page(&amy, "", "").await;
    for cursor in ["", &cursor] {
        for skip in ["0", "1"] {
            let reply = amy.get("/app/projects").query(&[("cursor", cursor), ("skip", skip)]).await;
            assert_eq!(reply.expect_invalid(), ["skip"]);
        }
    }
}

async fn cursor_of_other_list_or_user_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob, admin) = (t.user("amy").await, t.user("bob").await, t.admin().await);
    projects(&amy, 3).await;
    projects(&bob, 3).await;
    let (_, plain) = page(&amy, "", "").await;
    let (_, searched) = page(&amy, "project", "").await;
    let users = admin.get("/admin/users?limit=1&cursor=").await.expect(200)["next_cursor"].as_str().unwrap().to_owned();
    for (client, path, cursor) in [
        (&bob, "/app/projects", &plain),
        (&bob, "/app/projects?search=project", &searched),
        (&amy, "/app/projects?search=project", &plain),
        (&amy, "/app/projects?search=projec", &searched),
        (&amy, "/app/projects", &searched),
        (&amy, "/app/projects", &users),
        (&admin, "/admin/users", &plain),
    ] {
        assert_eq!(client.get(path).query(&[("cursor", cursor)]).await.expect_invalid(), ["cursor"], "{path}");
    }
    // A cursor stays valid with another `limit` and on another instance.
    let other = t.second(&[]).await.with_token(amy.token.as_ref().unwrap());
    let rest = other.get("/app/projects?limit=50").query(&[("cursor", &plain)]).await.expect(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
}

async fn cursor_malformed_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let rows = projects(&amy, 3).await;
    let (_, cursor) = page(&amy, "", "").await;
    let mut broken: Vec<String> = (1..cursor.len()).map(|end| cursor[..end].to_owned()).collect();
    broken.extend(["x", "null", "0", "é", "====", "\0", rows[0]["id"].as_str().unwrap()].map(str::to_owned));
    broken.extend([format!("{cursor}A"), format!(" {cursor}"), cursor.to_lowercase(), "A".repeat(8193)]);
    for at in [0, 10, cursor.len() / 2, cursor.len() - 1] {
        let other = if &cursor[at..=at] == "A" { "B" } else { "A" };
        broken.push(format!("{}{other}{}", &cursor[..at], &cursor[at + 1..]));
    }
    for text in broken {
        assert_eq!(amy.get("/app/projects").query(&[("cursor", &text)]).await.expect_invalid(), ["cursor"], "{text}");
    }
    assert_eq!(amy.get("/app/projects").query(&[("cursor", &cursor)]).await.expect(200)["items"].as_array().unwrap().len(), 1);
}

async fn cursor_walk_with_inserts_and_deletes_stays_consistent(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    for search in ["", "project"] {
        let before = amy.walk("/app/projects", &[("search", search)], 100).await;
        for row in ids(&before) {
            amy.delete(&format!("/app/projects/{row}")).await.expect(204);
        }
        projects(&amy, 8).await;
        let all = amy.walk("/app/projects", &[("search", search)], 100).await;
        let all = ids(&all);
        let (first, cursor) = page(&amy, search, "").await;
        assert_eq!(ids(&first), all[..2]);
        // Deletes a row already returned and a row not yet returned, and adds a row that sorts before the cursor.
        for gone in [all[0], all[3]] {
            amy.delete(&format!("/app/projects/{gone}")).await.expect(204);
        }
        amy.project(if search.is_empty() { "project new" } else { "a project" }).await;
        let (second, cursor) = page(&amy, search, &cursor).await;
        assert_eq!(ids(&second), [all[2], all[4]]);
        let (third, cursor) = page(&amy, search, &cursor).await;
        assert_eq!(ids(&third), all[5..7]);
        let (fourth, cursor) = page(&amy, search, &cursor).await;
        assert_eq!((ids(&fourth), cursor.as_str()), (all[7..].to_vec(), ""));
    }
}

async fn cursor_at_deleted_row_continues_after_it(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    projects(&amy, 5).await;
    for search in ["", "project"] {
        let all = amy.walk("/app/projects", &[("search", search)], 100).await;
        let (first, cursor) = page(&amy, search, "").await;
        amy.delete(&format!("/app/projects/{}", ids(&first)[1])).await.expect(204);
        let (second, _) = page(&amy, search, &cursor).await;
        assert_eq!(second, all[2..all.len().min(4)]);
    }
}
