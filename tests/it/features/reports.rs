//! Daily report job.

use chrono::{NaiveTime, TimeDelta};
use serde_json::{Value, json};

use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    daily_report_without_users_is_all_zero,
    daily_report_counts_total_active_and_new_users,
    daily_report_returning_user_counts_as_active,
    daily_report_new_users_reset_at_midnight_utc,
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

/// Advances the clock to this time of the next day.
fn tomorrow_at(t: &TestApp, hour: u32, minute: u32) {
    let now = t.clock.now();
    let then = (now.date_naive() + TimeDelta::days(1)).and_time(NaiveTime::from_hms_opt(hour, minute, 0).unwrap()).and_utc();
    t.clock.advance(then - now);
}

async fn daily_report_without_users_is_all_zero(b: Backend) {
    let t = TestApp::start(b).await;
    assert_eq!(report(&t).await, figures(0, 0, 0));
}

async fn daily_report_counts_total_active_and_new_users(b: Backend) {
    let t = TestApp::start(b).await;
    tomorrow_at(&t, 12, 0);
    t.user("amy").await;
    t.user("bob").await;
    assert_eq!(report(&t).await, figures(2, 2, 2));
    tomorrow_at(&t, 9, 0);
    t.user("cleo").await;
    assert_eq!(report(&t).await, figures(3, 3, 1), "21 hours later all three are active and one is new");
    t.clock.advance(TimeDelta::hours(3));
    assert_eq!(report(&t).await, figures(3, 3, 1), "exactly 24 hours later they still count as active");
    t.clock.advance(TimeDelta::seconds(1));
    assert_eq!(report(&t).await, figures(3, 1, 1));
    tomorrow_at(&t, 9, 1);
    assert_eq!(report(&t).await, figures(3, 0, 0));
    t.sql("UPDATE users SET is_active = FALSE WHERE id = 'amy'").await;
    assert_eq!(report(&t).await, figures(3, 0, 0), "a deactivated user still counts in the total");
}

async fn daily_report_returning_user_counts_as_active(b: Backend) {
    let t = TestApp::start(b).await;
    t.user("amy").await;
    t.user("bob").await;
    t.clock.advance(TimeDelta::days(7));
    assert_eq!(report(&t).await, figures(2, 0, 0));
    t.user("bob").await;
    assert_eq!(report(&t).await, figures(2, 1, 0));
}

async fn daily_report_new_users_reset_at_midnight_utc(b: Backend) {
    let t = TestApp::start(b).await;
    tomorrow_at(&t, 23, 59);
    t.user("amy").await;
    t.clock.advance(TimeDelta::seconds(59));
    assert_eq!(report(&t).await, figures(1, 1, 1));
    t.clock.advance(TimeDelta::seconds(1));
    assert_eq!(report(&t).await, figures(1, 1, 0));
    t.user("bob").await;
    assert_eq!(report(&t).await, figures(2, 2, 1), "midnight belongs to the new day");
}
