//! The quota of projects: live projects of a user.

use std::future::IntoFuture as _;

use futures_util::future::join_all;
use serde_json::json;

use super::quotas::{LIMITED, but_ten, quota_headers, set_plan};
use crate::harness::{Backend, Call, Client, Reply, TestApp, statements};

crate::on_both_backends![
    fourth_project_on_free_plan_is_refused,
    deleted_project_makes_room,
    parallel_creations_on_two_instances_stop_at_project_limit,
    parallel_twins_with_one_key_use_last_project_once,
    plan_change_counts_for_next_project,
    downgrade_below_use_refuses_only_creation,
    unlimited_plan_counts_no_projects,
    disabled_limits_count_no_projects,
    replay_works_when_project_quota_is_used_up,
    key_of_refused_creation_can_be_used_again,
    failed_creation_uses_no_project_quota,
    limited_creation_runs_two_statements,
    seed_is_not_limited_by_quota,
];

async fn server(b: Backend) -> TestApp {
    TestApp::with(b, &[LIMITED]).await
}

fn creation(client: &Client) -> Call {
    client.post("/app/projects", json!({"name": "Apollo"}))
}

/// The headers of a project that was created.
async fn created(client: &Client) -> [String; 3] {
    let reply = creation(client).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    quota_headers(&reply).map(str::to_owned)
}

#[track_caller]
fn refused(reply: Reply, limit: i64, used: i64) {
    assert_eq!(quota_headers(&reply), [limit.to_string().as_str(), "0", ""]);
    let details = reply.expect_error(403, "PLAN_LIMIT_EXCEEDED");
    assert_eq!(details, json!({"feature": "projects", "limit": limit, "used": used, "resets_at": null}));
}

fn path(n: usize) -> String {
    format!("/app/projects/{}", id(n))
}

fn id(n: usize) -> String {
    format!("00000000-0000-7000-8000-{n:012}")
}

/// Replaces the projects of amy: live ones, and one that is deleted.
async fn set_projects(t: &TestApp, count: usize) {
    let rows: Vec<_> = (0..count).map(|n| format!("('{}', 'p', 'p', 'amy', NULL)", id(n))).collect();
    let gone = format!("('{}', 'p', 'p', 'amy', '2026-01-01T00:00:00.000000+00:00')", id(count));
    t.sql("DELETE FROM projects").await;
    t.sql(&format!("INSERT INTO projects (id, name, name_folded, owner_id, deleted_at) VALUES {}, {gone}", rows.join(", "))).await;
}

async fn fourth_project_on_free_plan_is_refused(b: Backend) {
    let t = server(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    for left in ["2", "1", "0"] {
        assert_eq!(created(&amy).await, ["3", left, ""]);
    }
    refused(creation(&amy).await, 3, 3);
    refused(creation(&amy).key("k").await, 3, 3);
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 3);
    assert_eq!(created(&bob).await, ["3", "2", ""], "another user has a quota of their own");
}

async fn deleted_project_makes_room(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_projects(&t, 3).await;
    refused(creation(&amy).await, 3, 3);
    amy.delete(&path(1)).await.expect(204);
    assert_eq!(created(&amy).await, ["3", "0", ""]);
    refused(creation(&amy).await, 3, 3);
}

async fn parallel_creations_on_two_instances_stop_at_project_limit(b: Backend) {
    let t = server(b).await;
    let other = t.second(&[LIMITED]).await;
    let amy = t.user("amy").await;
    let there = other.with_token(amy.token.as_ref().unwrap());
    set_plan(&t, "'pro'", "'active'").await;
    for keyed in [false, true] {
        set_projects(&t, 40).await;
        let replies = join_all((0..50).map(|n| {
            let call = creation(if n % 2 == 0 { &amy } else { &there });
            if keyed { call.key(&format!("k{n}")).into_future() } else { call.into_future() }
        }))
        .await;
        for reply in but_ten(replies, 201) {
            refused(reply, 50, 50);
        }
        assert_eq!(t.number("SELECT COUNT(*) FROM projects WHERE deleted_at IS NULL").await, 50);
    }
}

async fn parallel_twins_with_one_key_use_last_project_once(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_projects(&t, 2).await;
    for reply in join_all((0..10).map(|_| creation(&amy).key("k").into_future())).await {
        assert_eq!(quota_headers(&reply), ["3", "0", ""]);
        reply.expect(201);
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM projects WHERE deleted_at IS NULL").await, 3);
}

async fn plan_change_counts_for_next_project(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_projects(&t, 3).await;
    refused(creation(&amy).await, 3, 3);
    set_plan(&t, "'pro'", "'trialing'").await;
    assert_eq!(created(&amy).await, ["50", "46", ""]);
    for (plan, status) in [("'pro'", "'past_due'"), ("'gold'", "'active'"), ("NULL", "NULL")] {
        set_plan(&t, plan, status).await;
        refused(creation(&amy).await, 3, 4);
    }
    set_plan(&t, "'enterprise'", "'active'").await;
    assert_eq!(created(&amy).await, ["-1", "-1", ""]);
}

async fn downgrade_below_use_refuses_only_creation(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_projects(&t, 5).await;
    set_plan(&t, "'pro'", "'canceled'").await;
    refused(creation(&amy).await, 3, 5);
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 5);
    amy.get(&path(0)).await.expect(200);
    amy.patch(&path(0), json!({"name": "Gemini"})).await.expect(200);
    for (n, used) in [(0, 4), (1, 3)] {
        amy.delete(&path(n)).await.expect(204);
        refused(creation(&amy).await, 3, used);
    }
    amy.delete(&path(2)).await.expect(204);
    assert_eq!(created(&amy).await, ["3", "0", ""]);
}

async fn unlimited_plan_counts_no_projects(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_projects(&t, 100).await;
    set_plan(&t, "'enterprise'", "'active'").await;
    let (reply, ran) = statements(creation(&amy)).await;
    assert_eq!((reply.status.as_u16(), quota_headers(&reply)), (201, ["-1", "-1", ""]));
    assert!(ran.len() <= 3 && ran.iter().all(|sql| !sql.contains("COUNT")), "{ran:#?}");
}

async fn disabled_limits_count_no_projects(b: Backend) {
    let t = TestApp::with(b, &[("PLAN_LIMITS_ENABLED", "false")]).await;
    let amy = t.user("amy").await;
    set_projects(&t, 3).await;
    let (reply, ran) = statements(creation(&amy)).await;
    assert_eq!((reply.status.as_u16(), quota_headers(&reply)), (201, [""; 3]));
    assert!(ran.len() <= 2 && ran.iter().all(|sql| !sql.contains("COUNT")), "{ran:#?}");
    let (reply, ran) = statements(creation(&amy).key("k")).await;
    assert_eq!((reply.status.as_u16(), quota_headers(&reply), ran.len() <= 4), (201, [""; 3], true), "{ran:#?}");
}

async fn replay_works_when_project_quota_is_used_up(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_projects(&t, 1).await;
    let first = creation(&amy).key("first").await;
    assert_eq!(quota_headers(&first), ["3", "1", ""]);
    created(&amy).await;
    refused(creation(&amy).key("another").await, 3, 3);
    let again = creation(&amy).key("first").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(quota_headers(&again), ["3", "1", ""], "a replay has the headers of the first answer");
    assert_eq!(again.expect(201), first.expect(201));
}

async fn key_of_refused_creation_can_be_used_again(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_projects(&t, 3).await;
    refused(creation(&amy).key("k").await, 3, 3);
    amy.delete(&path(0)).await.expect(204);
    let reply = creation(&amy).key("k").await;
    assert_eq!((reply.status.as_u16(), reply.header("idempotency-replayed")), (201, None));
}

async fn failed_creation_uses_no_project_quota(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    assert_eq!(created(&amy).await, ["3", "2", ""]);
    t.sql("ALTER TABLE projects RENAME COLUMN description TO elsewhere").await;
    creation(&amy).await.expect_error(500, "INTERNAL_ERROR");
    creation(&amy).key("k").await.expect_error(500, "INTERNAL_ERROR");
    t.sql("ALTER TABLE projects RENAME COLUMN elsewhere TO description").await;
    assert_eq!(created(&amy).await, ["3", "1", ""]);
}

/// Besides BEGIN and COMMIT, and the statement that stores the change for streams of events.
async fn limited_creation_runs_two_statements(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    let (_, ran) = statements(creation(&amy)).await;
    assert!(ran.len() <= 3 && ran[0].contains("FROM users") && ran[1].starts_with("INSERT INTO projects"), "{ran:#?}");
    let (_, ran) = statements(creation(&amy).key("k")).await;
    assert!(ran.len() <= 5, "{ran:#?}");
    let (_, ran) = statements(creation(&amy).key("k")).await;
    assert_eq!(ran.len(), 2, "a replay: {ran:#?}");
    created(&amy).await;
    let (reply, ran) = statements(creation(&amy)).await;
    assert_eq!((reply.status.as_u16(), ran.len()), (403, 2), "{ran:#?}");
}

async fn seed_is_not_limited_by_quota(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    let user = super::quotas::caller("amy");
    let projects = t.app.features.iter().find(|feature| feature.name() == "projects").unwrap();
    projects.seed(&t.app, &user).await.unwrap();
    refused(creation(&amy).await, 3, 4);
}
