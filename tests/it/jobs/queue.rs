//! Enqueueing, deduplication, delays, priorities and cancellation of jobs.

use std::time::Instant;

use chrono::TimeDelta;
use futures_util::future::join_all;
use omnistack::app::App;
use omnistack::app::jobs::New;
use omnistack::app::jobs::model::Status;
use omnistack::app::jobs::worker::Settings;
use omnistack::platform::clock::Clock;

use super::{enqueue, ms, row, short_lease, until};
use crate::harness::functions::{Act, Way, runs};
use crate::harness::{Backend, TestApp, eventually};

crate::on_both_backends![
    enqueue_takes_effect_only_on_commit,
    enqueue_same_process_wakes_idle_worker,
    enqueue_other_process_is_found_by_polling,
    enqueue_concurrent_dedupe_key_creates_one_job,
    job_delayed_waits_until_run_at,
    jobs_run_in_priority_order,
    job_unknown_function_stays_queued,
    cancel_prevents_queued_and_stops_running_job,
    job_with_clock_skew_between_hosts_runs_at_once,
];

async fn enqueue_takes_effect_only_on_commit(b: Backend) {
    let t = TestApp::start(b).await;
    let mut tx = t.app.db.begin().await.unwrap();
    t.app.jobs.enqueue(&mut tx, &Act::new(Way::Succeed), New::default()).await.unwrap().unwrap();
    drop(tx);
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs").await, 0);
    let mut tx = t.app.db.begin().await.unwrap();
    let kept = t.app.jobs.enqueue(&mut tx, &Act::new(Way::Succeed), New::default()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    t.run_jobs().await;
    assert_eq!(row(&t, kept).await.status(), Status::Complete);
    assert_eq!(row(&t, kept).await.outcome(), serde_json::json!({"attempt": 1}));
}

/// The poll interval is one hour, so only the wake-up signal can start the jobs in time.
async fn enqueue_same_process_wakes_idle_worker(b: Backend) {
    let t = TestApp::start(b).await;
    let working = t.worker(Settings { poll: ms(3_600_000), ..t.settings() });
    let first = enqueue(&t, Way::Succeed).await;
    until(&t, first, Status::Complete).await;
    let mut tx = t.app.db.begin().await.unwrap();
    let second = t.app.jobs.enqueue(&mut tx, &Act::new(Way::Succeed), New::default()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    until(&t, second, Status::Complete).await;
    working.stop().await;
}

async fn enqueue_other_process_is_found_by_polling(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let working = other.worker(other.settings());
    let id = enqueue(&t, Way::Succeed).await;
    until(&t, id, Status::Complete).await;
    working.stop().await;
}

async fn enqueue_concurrent_dedupe_key_creates_one_job(b: Backend) {
    let t = TestApp::start(b).await;
    let ask = || async {
        let new = New { dedupe_key: Some("report".to_owned()), ..New::default() };
        t.app.jobs.enqueue(&t.app.db, &Act::new(Way::Succeed), new).await.unwrap()
    };
    let made: Vec<_> = join_all((0..20).map(|_| ask())).await.into_iter().flatten().collect();
    assert_eq!(made.len(), 1);
    assert_eq!(t.app.jobs.find_pending(&t.app.db, "report").await.unwrap(), Some(made[0]));
    t.run_jobs().await;
    assert_eq!(runs(made[0]).len(), 1);
    assert!(ask().await.is_some(), "the key can be used again after the job has finished");
}

async fn job_delayed_waits_until_run_at(b: Backend) {
    let t = TestApp::start(b).await;
    let new = New { delay: TimeDelta::hours(2), ..New::default() };
    let id = t.app.jobs.enqueue(&t.app.db, &Act::new(Way::Succeed), new).await.unwrap().unwrap();
    t.run_jobs().await;
    assert_eq!(row(&t, id).await.status(), Status::Deferred);
    t.clock.advance(TimeDelta::hours(2));
    t.run_jobs().await;
    assert_eq!(row(&t, id).await.status(), Status::Complete);
}

async fn jobs_run_in_priority_order(b: Backend) {
    let t = TestApp::start(b).await;
    let mut ids = Vec::new();
    for priority in [0, 5, -1, 5, 0] {
        let new = New { priority, ..New::default() };
        ids.push(t.app.jobs.enqueue(&t.app.db, &Act::new(Way::Succeed), new).await.unwrap().unwrap());
    }
    let working = t.worker(Settings { concurrency: 1, ..t.settings() });
    eventually("all jobs have run", async || ids.iter().all(|id| runs(*id).len() == 1)).await;
    working.stop().await;
    let mut order: Vec<usize> = (0..5).collect();
    order.sort_by_key(|n| runs(ids[*n])[0].started);
    assert_eq!(order, [1, 3, 0, 4, 2]);
}

async fn job_unknown_function_stays_queued(b: Backend) {
    let t = TestApp::start(b).await;
    t.sql("INSERT INTO jobs (id, function) VALUES ('0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d', 'of_tomorrow')").await;
    t.clock.advance(TimeDelta::minutes(1));
    let id = enqueue(&t, Way::Succeed).await;
    let working = t.worker(short_lease(&t));
    until(&t, id, Status::Complete).await;
    working.stop().await;
    assert_eq!(t.texts("SELECT status FROM jobs WHERE function = 'of_tomorrow'").await, ["queued"]);
}

async fn cancel_prevents_queued_and_stops_running_job(b: Backend) {
    let t = TestApp::start(b).await;
    let waiting = enqueue(&t, Way::Succeed).await;
    assert_eq!(t.app.jobs.cancel(&t.app.db, waiting).await.unwrap(), Status::Cancelled);
    let (here, there) = (enqueue(&t, Way::NeverEnd).await, enqueue(&t, Way::NeverEnd).await);
    let other = t.second(&[]).await;
    let working = t.worker(short_lease(&t));
    until(&t, here, Status::InProgress).await;
    until(&t, there, Status::InProgress).await;
    let began = Instant::now();
    assert_eq!(t.app.jobs.cancel(&t.app.db, here).await.unwrap(), Status::InProgress);
    until(&t, here, Status::Cancelled).await;
    assert!(began.elapsed() < ms(5000), "{:?}", began.elapsed());
    // Another process can only record the cancellation request.
    assert_eq!(other.app.jobs.cancel(&other.app.db, there).await.unwrap(), Status::InProgress);
    let row = until(&t, there, Status::Cancelled).await;
    assert_eq!(row.success, None);
    working.stop().await;
    assert!(runs(waiting).is_empty() && runs(there)[0].ended.is_some());
}

/// Runs only on Postgres: SQLite is used on one host, which has one clock.
async fn job_with_clock_skew_between_hosts_runs_at_once(b: Backend) {
    if b == Backend::Sqlite {
        return;
    }
    let t = TestApp::start(b).await;
    let host = async |wrong_by: TimeDelta| {
        let mut features = omnistack::features::all();
        features.push(&crate::harness::functions::Functions);
        App::new(t.app.config.clone(), Clock::Wrong(wrong_by), features).await.unwrap()
    };
    let (early, late) = (host(TimeDelta::hours(3)).await, host(TimeDelta::hours(-3)).await);
    let id = early.jobs.enqueue(&early.db, &Act::new(Way::Succeed), New::default()).await.unwrap().unwrap();
    let worker = late.worker(t.settings());
    let stop = worker.stop().clone();
    let working = tokio::spawn(worker.run());
    until(&t, id, Status::Complete).await;
    stop.cancel();
    working.await.unwrap().unwrap();
}
