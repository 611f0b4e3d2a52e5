//! Transactions, commit hooks, and the mapping of database errors to HTTP errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use omnistack::platform::db::{Executor, Tx, query};
use omnistack::platform::error::Error;
use omnistack::sql;
use serde_json::json;
use tokio::time::timeout;

use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    transaction_dropped_rolls_back_and_skips_commit_hooks,
    commit_hook_runs_after_commit,
    read_during_open_transaction_does_not_block,
    concurrent_writes_all_succeed,
    database_fault_returns_500_without_cause,
    database_unavailable_returns_503_with_retry_after,
    commit_failed_returns_error_and_skips_hooks,
];

async fn insert(on: impl Into<Executor<'_>>, id: &str) -> sqlx::Result<u64> {
    let text = sql!("INSERT INTO users (id, email) VALUES ($1, $2)");
    query(on, text).bind(id.to_owned()).bind(format!("{id}@example.test")).execute().await
}

async fn count(on: impl Into<Executor<'_>>) -> i64 {
    let (count,): (i64,) = query(on, sql!("SELECT COUNT(*) FROM users")).fetch_one().await.unwrap();
    count
}

fn flag(tx: &mut Tx) -> Arc<AtomicUsize> {
    let told = Arc::new(AtomicUsize::new(0));
    let hook = told.clone();
    tx.after_commit(move || {
        hook.fetch_add(1, Ordering::SeqCst);
    });
    told
}

async fn transaction_dropped_rolls_back_and_skips_commit_hooks(b: Backend) {
    let t = TestApp::start(b).await;
    let mut tx = t.app.db.begin().await.unwrap();
    insert(&mut tx, "ghost").await.unwrap();
    assert_eq!(count(&mut tx).await, 1, "a transaction sees its own changes");
    let told = flag(&mut tx);
    drop(tx);
    // The next writer gets the connection only after the rollback.
    insert(&t.app.db, "real").await.unwrap();
    assert_eq!((count(&t.app.db).await, told.load(Ordering::SeqCst)), (1, 0));
}

async fn commit_hook_runs_after_commit(b: Backend) {
    let t = TestApp::start(b).await;
    let mut tx = t.app.db.begin().await.unwrap();
    insert(&mut tx, "amy").await.unwrap();
    let told = flag(&mut tx);
    assert_eq!((count(&t.app.db).await, told.load(Ordering::SeqCst)), (0, 0));
    tx.commit().await.unwrap();
    assert_eq!((count(&t.app.db).await, told.load(Ordering::SeqCst)), (1, 1));
}

async fn read_during_open_transaction_does_not_block(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let made = amy.project("Apollo").await;
    let mut tx = t.app.db.begin().await.unwrap();
    insert(&mut tx, "unfinished").await.unwrap();
    let read = async {
        assert_eq!(amy.get("/app/projects").await.expect(200)["items"], json!([made]));
        amy.get("/app/users/me").await.expect(200);
        t.anonymous().get("/public/health/ready").await.expect(200);
    };
    timeout(Duration::from_secs(2), read).await.unwrap_or_else(|_| panic!("the reader was blocked by the open transaction"));
    tx.commit().await.unwrap();
}

async fn concurrent_writes_all_succeed(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let amy = t.user("amy").await;
    let amy_there = other.with_token(amy.token.as_deref().unwrap());
    let writes = (0..20).map(|n| {
        let client = if n % 2 == 0 { amy.clone() } else { amy_there.clone() };
        tokio::spawn(async move {
            let call = client.post("/app/projects", json!({"name": format!("p{n}")}));
            if n % 4 < 2 { call.await } else { call.key(&format!("key-{n}")).await }.expect(201)
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 20);
}

async fn database_fault_returns_500_without_cause(b: Backend) {
    let t = TestApp::start(b).await;
    let orphan = sql!("INSERT INTO projects (id, name, owner_id) VALUES ('1', 'x', 'nobody')");
    let fault = query(&t.app.db, orphan).execute().await.map_err(Error::from).unwrap_err();
    assert_eq!(fault.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!fault.to_string().contains("projects"), "the public message reveals the cause: {fault}");
    assert_eq!(
        query(&t.app.db, sql!("SELECT id FROM users WHERE id = 'x'"))
            .fetch_one::<(String,)>()
            .await
            .map_err(Error::from)
            .unwrap_err()
            .status(),
        500
    );
}

async fn database_unavailable_returns_503_with_retry_after(b: Backend) {
    for error in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into())] {
        let error = Error::from(error);
        assert_eq!((error.status(), error.retry_after()), (StatusCode::SERVICE_UNAVAILABLE, Some(1)));
    }
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    t.app.db.close().await;
    let refused = amy.get("/app/projects").await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.expect_error(503, "SERVICE_UNAVAILABLE");
    amy.post("/app/projects", json!({"name": "x"})).key("k").await.expect_error(503, "SERVICE_UNAVAILABLE");
    let ready = t.anonymous().get("/public/health/ready").await.expect(503);
    assert_eq!(ready["components"]["database"]["status"], "unhealthy");
    t.anonymous().get("/public/health").await.expect(200);
}

/// The commit fails because of a deferred foreign key.
async fn commit_failed_returns_error_and_skips_hooks(b: Backend) {
    let t = TestApp::start(b).await;
    let mut tx = t.app.db.begin().await.unwrap();
    let told = flag(&mut tx);
    if t.app.db.is_postgres() {
        t.sql("ALTER TABLE projects ALTER CONSTRAINT projects_owner_id_fkey DEFERRABLE INITIALLY DEFERRED").await;
    } else {
        query(&mut tx, sql!(lite: "PRAGMA defer_foreign_keys = ON")).execute().await.unwrap();
    }
    let orphan = sql!("INSERT INTO projects (id, name, owner_id) VALUES ('1', 'x', 'nobody')");
    query(&mut tx, orphan).execute().await.unwrap();
    assert_eq!(Error::from(tx.commit().await.unwrap_err()).status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!((told.load(Ordering::SeqCst), t.number("SELECT COUNT(*) FROM projects").await), (0, 0));
    insert(&t.app.db, "the-writer-still-works").await.unwrap();
}

#[tokio::test]
async fn transaction_contended_is_retried_once() {
    let t = TestApp::start(Backend::Sqlite).await;
    let runs = AtomicUsize::new(0);
    let won: Result<(), Error> = omnistack::transaction!(t.app.db, |tx| {
        let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
        insert(&mut *tx, "amy").await?;
        if first { Err(Error::Contended) } else { Ok(()) }
    });
    won.unwrap();
    assert_eq!((runs.swap(0, Ordering::SeqCst), count(&t.app.db).await), (2, 1), "the writes of the first run are rolled back");
    let lost: Result<(), Error> = omnistack::transaction!(t.app.db, |tx| {
        runs.fetch_add(1, Ordering::SeqCst);
        insert(&mut *tx, "bob").await?;
        Err(Error::Contended)
    });
    let lost = lost.unwrap_err();
    assert_eq!((lost.status(), lost.retry_after()), (StatusCode::SERVICE_UNAVAILABLE, Some(1)));
    assert_eq!((runs.into_inner(), count(&t.app.db).await), (2, 1));
}

/// A lock that another program holds for too long is a temporary error, not a 500.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_file_locked_returns_503() {
    let t = TestApp::start(Backend::Sqlite).await;
    let other = t.second(&[]).await;
    let amy = t.user("amy").await;
    let tx = other.app.db.begin().await.unwrap();
    let refused = amy.post("/app/projects", json!({"name": "x"})).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.expect_error(503, "SERVICE_UNAVAILABLE");
    drop(tx);
    amy.post("/app/projects", json!({"name": "x"})).await.expect(201);
}
