//! Clean-up jobs: rows are deleted after their retention period and not before.

use chrono::{DateTime, TimeDelta, Utc};
use omnistack::app::jobs::{JobId, New};
use serde_json::{Value, json};

use crate::harness::functions::{Act, Way};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    cleanup_project_deleted_30_days_ago_removes_row,
    cleanup_idempotency_key_after_24h_removes_row,
    cleanup_done_job_after_1h_dead_after_14d_removes_row,
    cleanup_unfinished_job_of_any_age_keeps_row,
    cleanup_more_rows_than_batch_size_removes_all,
    cleanup_result_reports_deleted_records,
];

/// Runs the function in this process and returns its result.
async fn run(t: &TestApp, function: &str) -> Value {
    t.run_function(function, json!({})).await.unwrap().1.unwrap()
}

/// Runs the function and returns its `deleted_records`. Deletes its job row because the next run would count it.
async fn deleted(t: &TestApp, function: &str) -> i64 {
    let (id, result) = t.run_function(function, json!({})).await.unwrap();
    t.sql(&format!("DELETE FROM jobs WHERE id = '{id}'")).await;
    result.unwrap()["deleted_records"].as_i64().unwrap()
}

async fn names(t: &TestApp) -> Vec<String> {
    t.texts("SELECT name FROM projects ORDER BY name").await
}

/// Runs an `act` job to its end and returns its id.
async fn ended(t: &TestApp, way: &str) -> JobId {
    t.run_function("act", json!({"way": way})).await.unwrap().0
}

async fn is_there(t: &TestApp, id: JobId) -> bool {
    t.app.jobs.get(&t.app.db, id).await.unwrap().is_some()
}

async fn cleanup_project_deleted_30_days_ago_removes_row(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    t.sql("DELETE FROM jobs").await;
    for name in ["first", "live", "second"] {
        let id = amy.project(name).await["id"].as_str().unwrap().to_owned();
        if name != "live" {
            amy.delete(&format!("/app/projects/{id}")).await.expect(204);
        }
        t.clock.advance(TimeDelta::minutes(10));
    }
    t.clock.advance(TimeDelta::hours(2));
    // What else was kept of the requests.
    deleted(&t, "sweep_expired").await;
    // 20 minutes before the first project is due.
    t.clock.advance(TimeDelta::days(30) - TimeDelta::minutes(170));
    assert_eq!((deleted(&t, "cleanup_old_data").await, names(&t).await.len()), (0, 3));
    t.clock.advance(TimeDelta::minutes(25));
    assert_eq!(deleted(&t, "sweep_expired").await, 0, "the hourly sweep does not delete projects");
    assert_eq!((deleted(&t, "cleanup_old_data").await, names(&t).await), (1, vec!["live".to_owned(), "second".to_owned()]));
    t.clock.advance(TimeDelta::days(365));
    assert_eq!((deleted(&t, "cleanup_old_data").await, names(&t).await), (1, vec!["live".to_owned()]));
    assert_eq!(t.user("amy").await.get("/app/projects").await.expect(200)["total"], 1);
}

async fn cleanup_idempotency_key_after_24h_removes_row(b: Backend) {
    let t = TestApp::start(b).await;
    for function in ["sweep_expired", "cleanup_old_data"] {
        let amy = t.user("amy").await;
        t.sql("DELETE FROM jobs").await;
        amy.post("/app/projects", json!({"name": "old"})).key("old").await.expect(201);
        t.clock.advance(TimeDelta::minutes(30));
        amy.post("/app/projects", json!({"name": "young"})).key("young").await.expect(201);
        t.clock.advance(TimeDelta::hours(22));
        // What else was kept of the requests.
        deleted(&t, "sweep_expired").await;
        t.clock.advance(TimeDelta::hours(1));
        assert_eq!(deleted(&t, function).await, 0, "{function}");
        t.clock.advance(TimeDelta::minutes(45));
        assert_eq!(deleted(&t, function).await, 1, "{function}");
        assert_eq!(t.texts("SELECT key FROM idempotency_keys").await, ["young"]);
        t.sql("DELETE FROM idempotency_keys").await;
    }
}

async fn cleanup_done_job_after_1h_dead_after_14d_removes_row(b: Backend) {
    for function in ["sweep_expired", "cleanup_old_data"] {
        let t = TestApp::start(b).await;
        let (done, dead) = (ended(&t, "Succeed").await, ended(&t, "FailForGood").await);
        let cancelled = t.app.jobs.enqueue(&t.app.db, &Act::new(Way::Succeed), New::default()).await.unwrap().unwrap();
        t.app.jobs.cancel(&t.app.db, cancelled).await.unwrap();
        t.clock.advance(TimeDelta::minutes(59));
        assert_eq!(deleted(&t, function).await, 0);
        t.clock.advance(TimeDelta::minutes(2));
        assert_eq!(deleted(&t, function).await, 2);
        assert_eq!((is_there(&t, done).await, is_there(&t, cancelled).await, is_there(&t, dead).await), (false, false, true));
        t.clock.advance(TimeDelta::days(14) - TimeDelta::minutes(62));
        assert_eq!(deleted(&t, function).await, 0);
        t.clock.advance(TimeDelta::minutes(2));
        assert_eq!((deleted(&t, function).await, is_there(&t, dead).await), (1, false));
    }
}

async fn cleanup_unfinished_job_of_any_age_keeps_row(b: Backend) {
    let t = TestApp::start(b).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(t.app.jobs.enqueue(&t.app.db, &Act::new(Way::Succeed), New::default()).await.unwrap().unwrap());
    }
    t.sql(&format!("UPDATE jobs SET status = 'running', locked_by = 'x/1' WHERE id = '{}'", ids[1])).await;
    t.clock.advance(TimeDelta::days(400));
    assert_eq!((deleted(&t, "sweep_expired").await, deleted(&t, "cleanup_old_data").await), (0, 0));
    assert!(is_there(&t, ids[0]).await && is_there(&t, ids[1]).await);
}

async fn cleanup_more_rows_than_batch_size_removes_all(b: Backend) {
    let t = TestApp::start(b).await;
    t.user("amy").await;
    t.sql("DELETE FROM jobs").await;
    t.sql(
        "INSERT INTO projects (id, name, owner_id, deleted_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
         SELECT 'p' || i, 'x', 'amy', '2020-01-01T00:00:00.000000+00:00' FROM n",
    )
    .await;
    assert_eq!((deleted(&t, "cleanup_old_data").await, names(&t).await.len()), (2500, 0));
}

async fn cleanup_result_reports_deleted_records(b: Backend) {
    let t = TestApp::start(b).await;
    ended(&t, "Succeed").await;
    t.clock.advance(TimeDelta::hours(2));
    let result = run(&t, "cleanup_old_data").await;
    assert_eq!(result, json!({"executed_at": t.clock.now(), "deleted_records": 1, "archived_records": 0, "freed_storage_mb": 0.0}));
    let executed: DateTime<Utc> = result["executed_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(executed, t.clock.now());
    t.clock.advance(TimeDelta::hours(2));
    assert_eq!(run(&t, "sweep_expired").await, json!({"deleted_records": 1}), "the job row of the first run");
    assert_eq!(run(&t, "app.jobs.report_jobs.cleanup_old_data").await["deleted_records"], 0, "the former function name still works");
}
