//! Results of jobs as administrators see them: short ones in lists, and none with a user's data.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, TestApp};

crate::on_both_backends![job_list_shows_results_up_to_one_kib, job_views_hide_documents_of_earlier_versions];

/// Creates an administrator and empties the queue.
async fn admin(t: &TestApp) -> Client {
    let admin = t.admin().await;
    t.sql("DELETE FROM jobs").await;
    admin
}

/// Stores this outcome with the only job; returns the job as the list and the single view show its result.
async fn shown(t: &TestApp, admin: &Client, column: &str, value: &str) -> (Value, Value) {
    t.sql(&format!("UPDATE jobs SET result = NULL, error = NULL, status = 'done'; UPDATE jobs SET {column} = '{value}'")).await;
    let page = admin.get("/admin/jobs").await.expect(200);
    let listed = &page["jobs"][0];
    let one = admin.get(&format!("/admin/jobs/{}", listed["job_id"].as_str().unwrap())).await.expect(200);
    (listed["result"].clone(), one["result"].clone())
}

async fn job_list_shows_results_up_to_one_kib(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = admin(&t).await;
    t.run_function("act", json!({"way": "Succeed"})).await.unwrap().1.unwrap();
    let (fits, long) = (json!({"x": "é".repeat(508)}), json!({"x": format!("{}a", "é".repeat(508))}));
    assert_eq!((fits.to_string().len(), long.to_string().len()), (1024, 1025));
    // Many small members: Postgres writes them with spaces, which do not count.
    let numbers = json!((0..511).map(|_| 1).collect::<Vec<_>>());
    assert_eq!(numbers.to_string().len(), 1023);
    let huge = json!({"x": "y".repeat(3 << 20)});
    for (result, is_listed) in [(&json!(null), true), (&json!("short"), true), (&fits, true), (&numbers, true), (&long, false), (&huge, false)] {
        let (listed, one) = shown(&t, &admin, "result", &result.to_string()).await;
        assert_eq!(one, *result);
        assert_eq!(listed, if is_listed { result.clone() } else { json!({"truncated": true}) });
    }
    let (listed, one) = shown(&t, &admin, "error", &"e".repeat(2000)).await;
    assert_eq!((listed, one), (json!({"truncated": true}), json!("e".repeat(2000))));
}

/// Earlier versions kept the document of a data export in the result.
async fn job_views_hide_documents_of_earlier_versions(b: Backend) {
    let t = TestApp::start(b).await;
    let (admin, amy) = (admin(&t).await, t.user("amy").await);
    let id = amy.call(Method::POST, "/app/users/me/export").await.expect(202)["job_id"].as_str().unwrap().to_owned();
    t.sql(&format!("DELETE FROM jobs WHERE id <> '{id}'")).await;
    for size in [1, 4000] {
        let document = json!({"user": {"id": "amy"}, "projects": ["secret plan".repeat(size)], "exported_at": "2026-01-10T12:00:00Z"});
        let (listed, one) = shown(&t, &admin, "result", &document.to_string()).await;
        assert_eq!((listed, one), (json!({}), json!({})));
        assert_eq!(amy.get(&format!("/app/users/me/export/{id}")).await.expect(200), document, "its owner reads it until it is swept");
    }
}
