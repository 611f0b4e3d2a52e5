//! Scheduler: each slot is used once, with several instances and after missed slots.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc, Weekday};
use futures_util::future::join_all;

use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    scheduler_first_start_enqueues_nothing,
    scheduler_at_nine_utc_enqueues_daily_report,
    scheduler_slot_with_many_instances_is_used_once,
    scheduler_slots_missed_for_three_days_run_once,
    scheduler_sunday_midnight_enqueues_cleanup,
    scheduler_every_hour_enqueues_sweep,
    scheduler_slot_with_job_queued_enqueues_no_second,
    scheduler_slot_with_queue_write_failure_is_retried,
    scheduler_enqueued_jobs_run_to_completion,
    scheduler_slot_stored_in_the_future_is_corrected,
    scheduler_slot_of_clock_slightly_ahead_is_kept,
];

/// Advances the clock to the next such weekday and time (UTC).
fn go_to(t: &TestApp, day: Weekday, hour: u32, minute: u32) {
    let now = t.clock.now();
    let days = (0..8).map(|days| (now.date_naive() + TimeDelta::days(days)).and_time(NaiveTime::from_hms_opt(hour, minute, 0).unwrap()).and_utc());
    let then = days.filter(|then| then.weekday() == day).find(|then| *then > now).unwrap();
    t.clock.advance(then - now);
}

async fn tick(t: &TestApp) -> DateTime<Utc> {
    t.app.schedules.tick(&t.app.db, &t.app.jobs).await.unwrap().unwrap()
}

/// Counts the jobs by function and deletes them; only of the schedules that this story is about, since features bring their own.
async fn taken(t: &TestApp) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for function in t.texts("SELECT function FROM jobs").await.into_iter().filter(|function| ALL.contains(&function.as_str())) {
        *counts.entry(function).or_default() += 1;
    }
    t.sql("DELETE FROM jobs").await;
    counts
}

fn jobs<const N: usize>(functions: [&str; N]) -> BTreeMap<String, usize> {
    functions.into_iter().map(|function| (function.to_owned(), 1)).collect()
}

const REPORT: &str = "generate_daily_report";
const CLEANUP: &str = "cleanup_old_data";
const SWEEP: &str = "sweep_expired";
const ALL: [&str; 3] = [REPORT, CLEANUP, SWEEP];

async fn scheduler_first_start_enqueues_nothing(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Sun, 9, 0);
    for _ in 0..2 {
        tick(&t).await;
        assert_eq!(taken(&t).await, jobs([]), "neither the current slot nor an earlier one");
    }
    let other = t.second(&[]).await;
    tick(&other).await;
    t.clock.advance(TimeDelta::minutes(59));
    tick(&t).await;
    tick(&other).await;
    assert_eq!(taken(&t).await, jobs([]));
}

async fn scheduler_at_nine_utc_enqueues_daily_report(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Mon, 8, 30);
    let next = tick(&t).await;
    assert!(next > t.clock.now() && next - t.clock.now() <= TimeDelta::minutes(30), "{next}");
    t.clock.advance(TimeDelta::minutes(30) - TimeDelta::microseconds(1));
    tick(&t).await;
    assert_eq!(taken(&t).await, jobs([]));
    t.clock.advance(TimeDelta::microseconds(1));
    tick(&t).await;
    assert_eq!(taken(&t).await, jobs([REPORT, SWEEP]));
    for minutes in [0, 1, 58] {
        t.clock.advance(TimeDelta::minutes(minutes));
        tick(&t).await;
        assert_eq!(taken(&t).await, jobs([]), "the slot is already used");
    }
    go_to(&t, Weekday::Tue, 9, 0);
    tick(&t).await;
    assert_eq!(taken(&t).await, jobs([REPORT, SWEEP]));
}

async fn scheduler_slot_with_many_instances_is_used_once(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    go_to(&t, Weekday::Mon, 8, 30);
    tokio::join!(tick(&t), tick(&other));
    assert_eq!(taken(&t).await, jobs([]), "the first start enqueues nothing on either instance");
    for day in [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri] {
        go_to(&t, day, 9, 1);
        join_all([&t, &other, &t, &other, &t, &other].map(tick)).await;
        assert_eq!(taken(&t).await, jobs([REPORT, SWEEP]), "{day}");
        // The slot stays used after its jobs are gone, also for a new instance.
        tick(&other).await;
        tick(&t.second(&[]).await).await;
        assert_eq!(taken(&t).await, jobs([]), "{day}");
    }
}

async fn scheduler_slots_missed_for_three_days_run_once(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Mon, 8, 30);
    tick(&t).await;
    go_to(&t, Weekday::Thu, 8, 30);
    let restarted = t.second(&[]).await;
    tick(&restarted).await;
    assert_eq!(taken(&t).await, jobs([REPORT, SWEEP]), "one report for the three missed slots");
    tick(&restarted).await;
    tick(&t).await;
    assert_eq!(taken(&t).await, jobs([]));
    go_to(&t, Weekday::Thu, 9, 0);
    tick(&restarted).await;
    assert_eq!(taken(&t).await, jobs([REPORT, SWEEP]), "the next slot is enqueued as usual");
    go_to(&t, Weekday::Wed, 0, 30);
    tick(&t).await;
    assert_eq!(taken(&t).await, jobs([CLEANUP, REPORT, SWEEP]), "the Sunday slot was missed");
}

async fn scheduler_sunday_midnight_enqueues_cleanup(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Sat, 23, 30);
    tick(&t).await;
    t.clock.advance(TimeDelta::minutes(30) - TimeDelta::microseconds(1));
    tick(&t).await;
    assert_eq!(taken(&t).await, jobs([]));
    t.clock.advance(TimeDelta::microseconds(1));
    tick(&t).await;
    assert_eq!(taken(&t).await, jobs([CLEANUP, SWEEP]));
    for day in [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat] {
        go_to(&t, day, 0, 0);
        tick(&t).await;
        assert_eq!(taken(&t).await, jobs([REPORT, SWEEP]), "{day}");
    }
    go_to(&t, Weekday::Sun, 0, 0);
    tick(&t).await;
    assert_eq!(taken(&t).await, jobs([CLEANUP, REPORT, SWEEP]));
}

async fn scheduler_every_hour_enqueues_sweep(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Mon, 9, 30);
    tick(&t).await;
    for hour in 10..24 {
        go_to(&t, Weekday::Mon, hour, 0);
        tick(&t).await;
        assert_eq!(taken(&t).await, jobs([SWEEP]), "{hour}");
    }
}

async fn scheduler_slot_with_job_queued_enqueues_no_second(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Mon, 8, 30);
    tick(&t).await;
    for day in [Weekday::Mon, Weekday::Tue] {
        go_to(&t, day, 9, 0);
        tick(&t).await;
    }
    assert_eq!(taken(&t).await, jobs([REPORT, SWEEP]));
}

async fn scheduler_slot_with_queue_write_failure_is_retried(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Mon, 8, 30);
    tick(&t).await;
    go_to(&t, Weekday::Mon, 9, 0);
    t.sql("ALTER TABLE jobs RENAME TO jobs_away").await;
    for _ in 0..2 {
        t.app.schedules.tick(&t.app.db, &t.app.jobs).await.unwrap_err();
    }
    t.sql("ALTER TABLE jobs_away RENAME TO jobs").await;
    tick(&t).await;
    assert_eq!(taken(&t).await, jobs([REPORT, SWEEP]));
}

async fn scheduler_enqueued_jobs_run_to_completion(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Sat, 8, 30);
    tick(&t).await;
    go_to(&t, Weekday::Sun, 0, 0);
    tick(&t).await;
    t.run_jobs().await;
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE status <> 'done'").await, 0);
    assert_eq!(taken(&t).await, jobs([CLEANUP, REPORT, SWEEP]));
}

async fn scheduler_slot_stored_in_the_future_is_corrected(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Mon, 8, 30);
    tick(&t).await;
    // A host whose clock was years ahead used its slots.
    t.sql("UPDATE cron_schedules SET last_slot = '2099-01-01T09:00:00.000000+00:00'").await;
    let (restarted, other) = (t.second(&[]).await, t.second(&[]).await);
    join_all([&restarted, &other].map(tick)).await;
    assert_eq!(taken(&t).await, jobs([CLEANUP, REPORT, SWEEP]), "the latest slot of each, once");
    go_to(&t, Weekday::Mon, 9, 0);
    join_all([&t, &restarted, &other].map(tick)).await;
    assert_eq!(taken(&t).await, jobs([REPORT, SWEEP]), "the schedules go on");
    assert_eq!(t.number("SELECT COUNT(*) FROM cron_schedules WHERE last_slot > '2098-01-01T00:00:00.000000+00:00'").await, 0);
}

/// A slot that the next clock reaches within a period is believed: hosts' clocks differ a little.
async fn scheduler_slot_of_clock_slightly_ahead_is_kept(b: Backend) {
    let t = TestApp::start(b).await;
    go_to(&t, Weekday::Mon, 8, 30);
    tick(&t).await;
    go_to(&t, Weekday::Mon, 9, 0);
    let nine = t.clock.now();
    t.clock.advance(TimeDelta::minutes(-1));
    t.sql(&format!("UPDATE cron_schedules SET last_slot = '{}'", nine.format("%Y-%m-%dT%H:%M:%S+00:00"))).await;
    let other = t.second(&[]).await;
    for _ in 0..2 {
        tick(&t).await;
        tick(&other).await;
        assert_eq!(taken(&t).await, jobs([]), "the slot at nine is used already");
        t.clock.advance(TimeDelta::minutes(1));
    }
}
