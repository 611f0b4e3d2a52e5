//! Stories about the daily report.

use chrono::{NaiveTime, TimeDelta};
use serde_json::{Value, json};

use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    a_service_without_users_reports_noughts,
    the_report_counts_all_the_active_and_the_new,
    who_comes_back_is_active_again,
    a_day_ends_at_midnight_utc,
];

async fn report(t: &TestApp) -> Value {
    let (_, result) = t.run_function("generate_daily_report", json!({})).await.unwrap();
    let mut report = result.unwrap();
    assert_eq!(report["date"], t.clock.now().format("%Y-%m-%d").to_string());
    report.as_object_mut().unwrap().remove("date");
    report
}

fn figures(total: i64, active: i64, new: i64) -> Value {
    json!({"total_users": total, "active_users_24h": active, "new_users_today": new})
}

/// Moves the clock on to this time of the next day.
fn tomorrow_at(t: &TestApp, hour: u32, minute: u32) {
    let now = t.clock.now();
    let then = (now.date_naive() + TimeDelta::days(1)).and_time(NaiveTime::from_hms_opt(hour, minute, 0).unwrap()).and_utc();
    t.clock.advance(then - now);
}

async fn a_service_without_users_reports_noughts(b: Backend) {
    let t = TestApp::start(b).await;
    assert_eq!(report(&t).await, figures(0, 0, 0));
}

async fn the_report_counts_all_the_active_and_the_new(b: Backend) {
    let t = TestApp::start(b).await;
    tomorrow_at(&t, 12, 0);
    t.user("amy").await;
    t.user("bob").await;
    assert_eq!(report(&t).await, figures(2, 2, 2));
    tomorrow_at(&t, 9, 0);
    t.user("cleo").await;
    assert_eq!(report(&t).await, figures(3, 3, 1), "21 hours later all were here within a day, one is new");
    t.clock.advance(TimeDelta::hours(3));
    assert_eq!(report(&t).await, figures(3, 3, 1), "a day to the second");
    t.clock.advance(TimeDelta::seconds(1));
    assert_eq!(report(&t).await, figures(3, 1, 1));
    tomorrow_at(&t, 9, 1);
    assert_eq!(report(&t).await, figures(3, 0, 0));
    t.sql("UPDATE users SET is_active = FALSE WHERE id = 'amy'").await;
    assert_eq!(report(&t).await, figures(3, 0, 0), "a deactivated user is one still");
}

async fn who_comes_back_is_active_again(b: Backend) {
    let t = TestApp::start(b).await;
    t.user("amy").await;
    t.user("bob").await;
    t.clock.advance(TimeDelta::days(7));
    assert_eq!(report(&t).await, figures(2, 0, 0));
    t.user("bob").await;
    assert_eq!(report(&t).await, figures(2, 1, 0));
}

async fn a_day_ends_at_midnight_utc(b: Backend) {
    let t = TestApp::start(b).await;
    tomorrow_at(&t, 23, 59);
    t.user("amy").await;
    t.clock.advance(TimeDelta::seconds(59));
    assert_eq!(report(&t).await, figures(1, 1, 1));
    t.clock.advance(TimeDelta::seconds(1));
    assert_eq!(report(&t).await, figures(1, 1, 0));
    t.user("bob").await;
    assert_eq!(report(&t).await, figures(2, 2, 1), "midnight is of the new day");
}
