//! The quota of storage: the sizes of all files of a user, in MiB.

use std::future::IntoFuture as _;

use futures_util::future::join_all;
use serde_json::json;

use super::quotas::{LIMITED, but_ten, quota_headers, set_plan};
use crate::harness::{Backend, Call, Client, Reply, TestApp, files, statements};

crate::on_both_backends![
    upload_beyond_storage_quota_is_refused,
    storage_is_shown_in_whole_mib,
    confirmed_upload_counts_with_its_true_size,
    deleted_file_makes_room,
    parallel_uploads_on_two_instances_stop_at_storage_limit,
    rule_of_pending_uploads_comes_before_quota,
    plan_change_counts_for_next_upload,
    downgrade_below_storage_refuses_only_upload,
    unlimited_plan_adds_up_no_files,
    disabled_limits_add_up_no_files,
    replay_works_when_storage_quota_is_used_up,
    failed_upload_request_uses_no_storage_quota,
    limited_upload_request_runs_three_statements,
];

const MIB: i64 = 1 << 20;

async fn server(b: Backend) -> TestApp {
    TestApp::with(b, &[LIMITED]).await
}

fn request(client: &Client, size: i64) -> Call {
    client.post("/app/files/upload-url", json!({"filename": "a.txt", "content_type": "text/plain", "size": size}))
}

/// The headers of an upload that is allowed.
async fn allowed(client: &Client, size: i64) -> [String; 3] {
    let reply = request(client, size).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    quota_headers(&reply).map(str::to_owned)
}

/// Checks a refusal; `used` in MiB.
#[track_caller]
fn refused(reply: Reply, limit: i64, used: i64) {
    assert_eq!(quota_headers(&reply), [limit.to_string(), (limit - used).max(0).to_string(), String::new()]);
    let details = reply.expect_error(403, "PLAN_LIMIT_EXCEEDED");
    assert_eq!(details, json!({"feature": "storage_mb", "limit": limit, "used": used, "resets_at": null}));
}

/// Replaces the files of amy.
async fn set_files(t: &TestApp, status: &str, sizes: impl IntoIterator<Item = i64>) {
    let row = |(n, size)| format!("('f{n}', 'amy', '{status}/{n}', 'a.txt', 'text/plain', {size}, '{status}')");
    let rows: Vec<_> = sizes.into_iter().enumerate().map(row).collect();
    t.sql("DELETE FROM files").await;
    t.sql(&format!("INSERT INTO files (id, owner_id, key, filename, content_type, size, status) VALUES {}", rows.join(", "))).await;
}

async fn upload_beyond_storage_quota_is_refused(b: Backend) {
    let t = server(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    assert_eq!(allowed(&amy, 40 * MIB).await, ["100", "60", ""]);
    refused(request(&amy, 60 * MIB + 1).await, 100, 40);
    refused(request(&amy, 60 * MIB + 1).key("k").await, 100, 40);
    assert_eq!(allowed(&amy, 60 * MIB).await, ["100", "0", ""]);
    refused(request(&amy, 1).await, 100, 100);
    assert_eq!(amy.get("/app/files").await.expect(200)["total"], 2);
    assert_eq!(allowed(&bob, 100 * MIB).await, ["100", "0", ""], "another user has a quota of their own");
}

async fn storage_is_shown_in_whole_mib(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    for (sizes, new, remaining) in
        [(vec![1], 1, "99"), (vec![40 * MIB - 1], 1, "60"), (vec![40 * MIB], 1, "59"), (vec![99 * MIB, MIB - 1], 1, "0")]
    {
        set_files(&t, "uploaded", sizes.clone()).await;
        assert_eq!(allowed(&amy, new).await, ["100", remaining, ""], "{sizes:?} + {new}");
    }
    for (sizes, new, used) in [(vec![1], 100 * MIB, 1), (vec![40 * MIB + 1], 60 * MIB, 41), (vec![99 * MIB, MIB], 1, 100)] {
        set_files(&t, "uploaded", sizes).await;
        refused(request(&amy, new).await, 100, used);
    }
}

async fn confirmed_upload_counts_with_its_true_size(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    let asked = request(&amy, 60 * MIB).await.expect(201);
    refused(request(&amy, 41 * MIB).await, 100, 60);
    files::send(&t, &asked, "text/plain", b"hello").await.expect(204);
    files::confirm(&amy, &asked).await.expect(200);
    assert_eq!(allowed(&amy, 41 * MIB).await, ["100", "58", ""]);
}

async fn deleted_file_makes_room(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    let asked = request(&amy, 100 * MIB).await.expect(201);
    refused(request(&amy, 1).await, 100, 100);
    amy.delete(&format!("/app/files/{}", asked["file_id"].as_str().unwrap())).await.expect(204);
    assert_eq!(allowed(&amy, 1).await, ["100", "99", ""]);
}

async fn parallel_uploads_on_two_instances_stop_at_storage_limit(b: Backend) {
    let t = server(b).await;
    let other = t.second(&[LIMITED]).await;
    let amy = t.user("amy").await;
    let there = other.with_token(amy.token.as_ref().unwrap());
    set_plan(&t, "'pro'", "'active'").await;
    for keyed in [false, true] {
        set_files(&t, "uploaded", [9_990 * MIB]).await;
        let replies = join_all((0..50).map(|n| {
            let call = request(if n % 2 == 0 { &amy } else { &there }, MIB);
            if keyed { call.key(&format!("k{n}")).into_future() } else { call.into_future() }
        }))
        .await;
        for reply in but_ten(replies, 201) {
            refused(reply, 10_000, 10_000);
        }
        assert_eq!(t.number("SELECT COUNT(*) FROM files").await, 11);
    }
}

async fn rule_of_pending_uploads_comes_before_quota(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_files(&t, "pending", [MIB; 100]).await;
    request(&amy, 1).await.expect_error(400, "BAD_REQUEST");
    set_files(&t, "pending", [2 * MIB; 99]).await;
    refused(request(&amy, 1).await, 100, 198);
    set_files(&t, "pending", [100 * MIB; 10]).await;
    request(&amy, 24 * MIB + 1).await.expect_error(400, "BAD_REQUEST");
    refused(request(&amy, 24 * MIB).await, 100, 1_000);
}

async fn plan_change_counts_for_next_upload(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_files(&t, "uploaded", [100 * MIB]).await;
    refused(request(&amy, 1).await, 100, 100);
    set_plan(&t, "'pro'", "'active'").await;
    assert_eq!(allowed(&amy, MIB).await, ["10000", "9899", ""]);
    set_plan(&t, "'pro'", "'incomplete'").await;
    refused(request(&amy, 1).await, 100, 101);
}

async fn downgrade_below_storage_refuses_only_upload(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    let file = files::upload(&t, &amy, "a.txt", "text/plain", b"hello").await;
    let asked = request(&amy, 5).await.expect(201);
    t.sql(&format!("UPDATE files SET size = {} WHERE status = 'uploaded'", 500 * MIB)).await;
    refused(request(&amy, 1).await, 100, 501);
    assert_eq!(amy.get("/app/files").await.expect(200)["total"], 2);
    files::link(&amy, &file).await;
    files::send(&t, &asked, "text/plain", b"hello").await.expect(204);
    files::confirm(&amy, &asked).await.expect(200);
    amy.delete(&format!("/app/files/{}", file["id"].as_str().unwrap())).await.expect(204);
    assert_eq!(allowed(&amy, 1).await, ["100", "99", ""]);
}

async fn unlimited_plan_adds_up_no_files(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    set_files(&t, "uploaded", [1 << 60]).await;
    set_plan(&t, "'enterprise'", "'trialing'").await;
    assert_eq!(allowed(&amy, 100 * MIB).await, ["-1", "-1", ""]);
}

async fn disabled_limits_add_up_no_files(b: Backend) {
    let t = TestApp::with(b, &[("PLAN_LIMITS_ENABLED", "false")]).await;
    let amy = t.user("amy").await;
    set_files(&t, "uploaded", [500 * MIB]).await;
    let (reply, ran) = statements(request(&amy, MIB)).await;
    assert_eq!((reply.status.as_u16(), quota_headers(&reply), ran.len()), (201, [""; 3], 3), "{ran:#?}");
}

async fn replay_works_when_storage_quota_is_used_up(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    let first = request(&amy, MIB).key("first").await;
    allowed(&amy, 99 * MIB).await;
    refused(request(&amy, MIB).key("another").await, 100, 100);
    let again = request(&amy, MIB).key("first").await;
    assert_eq!((again.header("idempotency-replayed"), quota_headers(&again)), (Some("true"), ["100", "99", ""]));
    assert_eq!(again.expect(201), first.expect(201));
}

async fn failed_upload_request_uses_no_storage_quota(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    t.sql("ALTER TABLE files RENAME COLUMN filename TO elsewhere").await;
    request(&amy, 90 * MIB).await.expect_error(500, "INTERNAL_ERROR");
    request(&amy, 90 * MIB).key("k").await.expect_error(500, "INTERNAL_ERROR");
    t.sql("ALTER TABLE files RENAME COLUMN elsewhere TO filename").await;
    assert_eq!(allowed(&amy, MIB).await, ["100", "99", ""]);
}

/// Besides BEGIN and COMMIT: the lock with the plan, the sums, and the row.
async fn limited_upload_request_runs_three_statements(b: Backend) {
    let t = server(b).await;
    let amy = t.user("amy").await;
    let (reply, ran) = statements(request(&amy, 100 * MIB)).await;
    assert_eq!((reply.status.as_u16(), ran.len()), (201, 3), "{ran:#?}");
    assert_eq!(ran.iter().filter(|sql| sql.contains("FROM users")).count(), 1, "one lock: {ran:#?}");
    let (reply, ran) = statements(request(&amy, 1)).await;
    assert_eq!((reply.status.as_u16(), ran.len()), (403, 2), "{ran:#?}");
}
