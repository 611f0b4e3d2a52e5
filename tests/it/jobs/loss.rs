//! Lost workers, lost connections, and worker shutdown.

use std::time::Instant;

use chrono::TimeDelta;
use omnistack::app::jobs::model::Status;
use omnistack::app::jobs::worker::Settings;

use super::{enqueue, ms, row, short_lease, until};
use crate::harness::functions::{Way, runs};
use crate::harness::{Backend, TestApp, eventually};

crate::on_both_backends![
    worker_full_keeps_leases_and_leaves_next_job_to_other,
    job_of_lost_worker_reruns_without_using_an_attempt,
    job_with_repeated_worker_loss_fails,
    worker_stop_finishes_running_jobs_only,
    worker_stop_requeues_jobs_beyond_grace,
];

async fn worker_full_keeps_leases_and_leaves_next_job_to_other(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..11 {
        ids.push(enqueue(&t, Way::Sleep(3000)).await);
    }
    let first = t.worker(short_lease(&t));
    eventually("ten jobs run", async || t.number("SELECT COUNT(*) FROM jobs WHERE status = 'running'").await == 10).await;
    let began = Instant::now();
    let second = other.worker(short_lease(&other));
    eventually("the eleventh job runs", async || !runs(ids[10]).is_empty()).await;
    assert!(began.elapsed() < ms(2500), "the eleventh job waited for the first worker: {:?}", began.elapsed());
    for id in &ids {
        let row = until(&t, *id, Status::Complete).await;
        assert_eq!((row.attempts, runs(*id).len()), (1, 1), "a lease of one second is renewed during a job of three seconds");
    }
    first.stop().await;
    second.stop().await;
}

/// Inserts a job in the state that a killed worker leaves behind.
async fn left_by_a_dead_worker(t: &TestApp, losses: i32) -> omnistack::app::jobs::JobId {
    let id = enqueue(t, Way::Succeed).await;
    t.sql(&format!(
        "UPDATE jobs SET status = 'running', attempts = 1, losses = {losses}, locked_by = 'dead/0', locked_until = '2020-01-01T00:00:00+00:00' WHERE id = '{id}'"
    ))
    .await;
    id
}

async fn job_of_lost_worker_reruns_without_using_an_attempt(b: Backend) {
    let t = TestApp::start(b).await;
    let id = left_by_a_dead_worker(&t, 5).await;
    let working = t.worker(short_lease(&t));
    assert_eq!(until(&t, id, Status::Complete).await.attempts, 1);
    working.stop().await;
}

async fn job_with_repeated_worker_loss_fails(b: Backend) {
    let t = TestApp::start(b).await;
    let id = left_by_a_dead_worker(&t, 9).await;
    let working = t.worker(short_lease(&t));
    let row = until(&t, id, Status::Failed).await;
    assert_eq!((row.error.as_deref(), row.success), (Some("worker lost"), Some(false)));
    working.stop().await;
    assert!(runs(id).is_empty());
}

async fn worker_stop_finishes_running_jobs_only(b: Backend) {
    let t = TestApp::start(b).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(enqueue(&t, Way::Sleep(500)).await);
    }
    let working = t.worker(Settings { concurrency: 2, ..t.settings() });
    eventually("two jobs run", async || !runs(ids[1]).is_empty()).await;
    working.stop().await;
    let states = [row(&t, ids[0]).await, row(&t, ids[1]).await, row(&t, ids[2]).await].map(|row| (row.status(), row.attempts));
    assert_eq!(states, [(Status::Complete, 1), (Status::Complete, 1), (Status::Queued, 0)]);
}

async fn worker_stop_requeues_jobs_beyond_grace(b: Backend) {
    let t = TestApp::start(b).await;
    let id = enqueue(&t, Way::NeverEnd).await;
    let working = t.worker(Settings { grace: ms(200), ..t.settings() });
    eventually("the job runs", async || !runs(id).is_empty()).await;
    working.stop().await;
    assert_eq!((row(&t, id).await.status(), row(&t, id).await.attempts), (Status::Queued, 0));
    assert!(runs(id)[0].ended.is_some());
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE locked_by IS NOT NULL").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_survives_terminated_connections() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let t = TestApp::start(Backend::Postgres).await;
    let id = enqueue(&t, Way::Sleep(1500)).await;
    let working = t.worker(short_lease(&t));
    eventually("the job runs", async || !runs(id).is_empty()).await;
    let watcher = t.second(&[]).await;
    watcher
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    let done = until(&watcher, id, Status::Complete).await;
    assert_eq!((done.attempts, runs(id).len()), (1, 1));
    let next = enqueue(&watcher, Way::Succeed).await;
    until(&watcher, next, Status::Complete).await;
    working.stop().await;
}

/// During a database outage a running job is aborted before its lease expires, so two workers never run it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_with_unrenewed_lease_is_aborted_before_expiry() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let (t, proxy) = TestApp::behind_proxy(&[]).await;
    let id = enqueue(&t, Way::Sleep(6000)).await;
    let working = t.worker(Settings { lease: ms(1500), ..short_lease(&t) });
    eventually("the job runs", async || !runs(id).is_empty()).await;
    let cut = Instant::now();
    proxy.cut();
    eventually("the job is aborted", async || runs(id)[0].ended.is_some()).await;
    let after = runs(id)[0].ended.unwrap() - cut;
    assert!(after < ms(1500), "aborted {after:?} after the outage began, with a lease of 1.5 s");
    proxy.mend();
    eventually("the job runs again", async || {
        // The first attempt failed, so the next one is delayed by the back-off.
        t.clock.advance(TimeDelta::seconds(1));
        runs(id).len() == 2
    })
    .await;
    working.stop().await;
}
