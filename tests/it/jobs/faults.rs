//! Jobs that fail, panic, hang or have an invalid payload: the worker and other jobs continue, the row records the error.

use chrono::TimeDelta;
use omnistack::app::jobs::model::Status;
use omnistack::app::jobs::{JobId, New};

use super::{enqueue, ms, row, short_lease, until};
use crate::harness::functions::{Brief, Way, runs};
use crate::harness::{Backend, TestApp, eventually};

crate::on_both_backends![
    job_failing_backs_off_and_fails_after_max_attempts,
    job_retry_after_waits_for_the_given_delay,
    job_permanent_failure_is_not_retried,
    job_panicking_or_hanging_fails_without_stopping_worker,
    job_invalid_payload_fails_with_payload_error,
    job_result_write_refused_is_stored_later_without_rerun,
];

/// Seconds from now until the next attempt.
async fn delay(t: &TestApp, id: JobId) -> f64 {
    let row = row(t, id).await;
    assert_eq!((row.status(), row.error.as_deref()), (Status::Deferred, Some("boom")));
    (row.run_at - t.app.clock.now()).as_seconds_f64()
}

async fn job_failing_backs_off_and_fails_after_max_attempts(b: Backend) {
    let t = TestApp::start(b).await;
    let id = enqueue(&t, Way::Fail).await;
    for (attempt, least) in [(1, 1.0), (2, 2.0)] {
        t.run_jobs().await;
        assert_eq!(row(&t, id).await.attempts, attempt);
        let delay = delay(&t, id).await;
        assert!((least..=least * 1.2).contains(&delay), "{delay} s after attempt {attempt}");
        t.clock.advance(TimeDelta::seconds(3));
    }
    t.run_jobs().await;
    let row = row(&t, id).await;
    assert_eq!((row.status(), row.attempts, row.success), (Status::Failed, 3, Some(false)));
    assert_eq!(row.outcome(), "boom");
    assert_eq!(runs(id).iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2, 3]);
}

async fn job_retry_after_waits_for_the_given_delay(b: Backend) {
    let t = TestApp::start(b).await;
    let id = enqueue(&t, Way::FailFor(600_000)).await;
    t.run_jobs().await;
    t.clock.advance(TimeDelta::seconds(599));
    t.run_jobs().await;
    assert_eq!(row(&t, id).await.status(), Status::Deferred);
    t.clock.advance(TimeDelta::seconds(1));
    t.run_jobs().await;
    assert_eq!(row(&t, id).await.status(), Status::Complete);
}

async fn job_permanent_failure_is_not_retried(b: Backend) {
    let t = TestApp::start(b).await;
    let id = enqueue(&t, Way::FailForGood).await;
    t.run_jobs().await;
    let row = row(&t, id).await;
    assert_eq!((row.status(), row.attempts, row.error.as_deref()), (Status::Failed, 1, Some("never")));
}

async fn job_panicking_or_hanging_fails_without_stopping_worker(b: Backend) {
    let t = TestApp::start(b).await;
    let mut ids = Vec::new();
    for way in [Way::Panic, Way::NeverEnd, Way::Block(800), Way::Nul] {
        ids.push(t.app.jobs.enqueue(&t.app.db, &Brief { way }, New::default()).await.unwrap().unwrap());
    }
    let working = t.worker(short_lease(&t));
    assert_eq!(until(&t, ids[0], Status::Failed).await.error.as_deref(), Some("panic: kaboom"));
    assert_eq!(until(&t, ids[1], Status::Failed).await.error.as_deref(), Some("time limit of 0.3 s"));
    // A job that blocks its thread cannot be aborted; its time limit is detected afterwards.
    until(&t, ids[2], Status::Failed).await;
    assert_eq!(until(&t, ids[3], Status::Complete).await.outcome(), serde_json::json!({"text": "a\u{FFFD}b"}));
    let next = enqueue(&t, Way::Succeed).await;
    until(&t, next, Status::Complete).await;
    working.stop().await;
}

async fn job_invalid_payload_fails_with_payload_error(b: Backend) {
    let t = TestApp::start(b).await;
    let mut payloads = vec![r#"{"wrong": 1}"#, "[]", "7"];
    if b == Backend::Sqlite {
        // Postgres rejects invalid JSON on insert.
        payloads.push("no json");
    }
    let mut ids = Vec::new();
    for payload in payloads {
        let id = JobId::new();
        t.sql(&format!("INSERT INTO jobs (id, function, kwargs) VALUES ('{id}', 'act', '{payload}')")).await;
        ids.push(id);
    }
    t.clock.advance(TimeDelta::minutes(1));
    t.run_jobs().await;
    for id in ids {
        let row = row(&t, id).await;
        assert_eq!((row.status(), row.attempts), (Status::Failed, 1));
        assert!(row.error.as_deref().unwrap().starts_with("payload: "), "{row:?}");
    }
}

async fn job_result_write_refused_is_stored_later_without_rerun(b: Backend) {
    let t = TestApp::start(b).await;
    let (refuse, allow) = match b {
        Backend::Sqlite => (
            "CREATE TRIGGER full_disk BEFORE UPDATE ON jobs WHEN NEW.status = 'done' BEGIN SELECT RAISE(ABORT, 'disk full'); END",
            "DROP TRIGGER full_disk",
        ),
        Backend::Postgres => (
            "CREATE FUNCTION full_disk() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'disk full'; END $$ LANGUAGE plpgsql;
             CREATE TRIGGER full_disk BEFORE UPDATE ON jobs FOR EACH ROW WHEN (NEW.status = 'done') EXECUTE FUNCTION full_disk()",
            "DROP TRIGGER full_disk ON jobs",
        ),
    };
    t.sql(refuse).await;
    let working = t.worker(short_lease(&t));
    let id = enqueue(&t, Way::Sleep(10)).await;
    eventually("the job has run", async || runs(id).first().is_some_and(|run| run.ended.is_some())).await;
    // The failure of another job can be stored.
    let other = enqueue(&t, Way::FailForGood).await;
    until(&t, other, Status::Failed).await;
    // Longer than the lease: the lease is renewed until the result is stored.
    let ended = runs(id)[0].ended.unwrap();
    eventually("the lease duration has passed", async || ended.elapsed() > ms(2500)).await;
    assert_eq!(row(&t, id).await.status(), Status::InProgress);
    t.sql(allow).await;
    let row = until(&t, id, Status::Complete).await;
    assert_eq!((row.attempts, runs(id).len()), (1, 1));
    working.stop().await;
}
