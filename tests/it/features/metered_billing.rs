//! Reports of usage to Stripe's meters, against a stub of Stripe. Every file in this folder becomes a module automatically.

automod::dir!("tests/it/features/metered_billing");

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::harness::{Backend, TestApp};
use stub::Stub;

const CALLS: &str = "api_requests";
const TOKENS: &str = "ai_tokens";

/// Settings of a service that reports to the stub. What the test's own requests use is not counted.
fn settings(stub: &Stub) -> Vec<(&str, &str)> {
    vec![
        ("STRIPE_SECRET_KEY", "sk_test_key"),
        ("STRIPE_API_BASE", &stub.url),
        ("USAGE_TRACKING_ENABLED", "false"),
        ("USAGE_STRIPE_SYNC_ENABLED", "true"),
        ("USAGE_STRIPE_METERS", "api_requests=calls,ai_tokens=tokens"),
    ]
}

/// A service that reports to the stub, at noon.
async fn reporting(b: Backend, stub: &Stub) -> TestApp {
    let t = TestApp::with(b, &settings(stub)).await;
    stub.set_clock(&t.clock);
    go_to(&t, next_day(&t) + TimeDelta::hours(12));
    t
}

fn day_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

fn next_day(t: &TestApp) -> DateTime<Utc> {
    day_of(t.clock.now()) + TimeDelta::days(1)
}

#[track_caller]
fn go_to(t: &TestApp, at: DateTime<Utc>) {
    assert!(at >= t.clock.now());
    t.clock.advance(at - t.clock.now());
}

/// The first day from now on of which this is true, and its next day too.
fn day_where(t: &TestApp, is: impl Fn(DateTime<Utc>) -> bool) -> DateTime<Utc> {
    (0..800).map(|days| next_day(t) + TimeDelta::days(days)).find(|day| is(*day)).unwrap()
}

/// Makes a user who is a customer.
async fn customer(t: &TestApp, user: &str) {
    t.user(user).await;
    become_customer(t, user, &format!("cus_{user}")).await;
}

async fn become_customer(t: &TestApp, user: &str, customer: &str) {
    t.sql(&format!("UPDATE users SET stripe_customer_id = '{customer}' WHERE id = '{user}'")).await;
}

/// Counts usage as the recorder does.
async fn uses(t: &TestApp, user: &str, metric: &str, quantity: i64) {
    uses_on(t, user, metric, t.clock.now(), quantity).await;
}

async fn uses_on(t: &TestApp, user: &str, metric: &str, at: DateTime<Utc>, quantity: i64) {
    let (day, id) = (day_of(at), uuid::Uuid::now_v7());
    let (start, end) = (day.format("%FT%T+00:00"), (day + TimeDelta::days(1)).format("%FT%T+00:00"));
    t.sql(&format!(
        "INSERT INTO usage_records (id, user_id, metric, quantity, period_start, period_end, period_type)
         VALUES ('{id}', '{user}', '{metric}', {quantity}, '{start}', '{end}', 'daily')
         ON CONFLICT (user_id, metric, period_type, period_start)
         DO UPDATE SET quantity = usage_records.quantity + excluded.quantity, reported_to_stripe = FALSE"
    ))
    .await;
}

/// Runs one round.
async fn report(t: &TestApp) -> Value {
    t.run_function("report_usage", json!({})).await.unwrap().1.unwrap()
}

/// A round that delivers this many reports and nothing else.
async fn report_all(t: &TestApp, delivered: u64) {
    assert_eq!(report(t).await, json!({"delivered": delivered, "refused": 0, "failed": 0, "expired": 0}));
}

/// States of all reports, oldest first.
async fn states(t: &TestApp) -> Vec<String> {
    t.texts("SELECT state FROM usage_reports ORDER BY created_at, day, number").await
}

fn hours_pass(t: &TestApp, hours: i64) {
    t.clock.advance(TimeDelta::hours(hours));
}

/// Whether the day is the last one of its month.
fn ends_month(day: DateTime<Utc>) -> bool {
    (day + TimeDelta::days(1)).day() == 1
}
