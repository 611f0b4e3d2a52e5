//! All figures agree with a plain model, at any minute of a month and across the ends of months and years.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Datelike, Months, NaiveDate, TimeDelta, Timelike, Utc};
use omnistack::platform::usage::Metric;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRng, TestRunner};
use serde_json::{Value, json};

use super::{fresh, record, record_at, stored, used};
use crate::harness::{Backend, Client, TestApp, tokens};

crate::on_both_backends![
    figures_of_random_months_match_model,
    event_at_the_first_instant_belongs_to_the_new_month,
    clock_set_back_counts_each_event_once,
    days_of_clocks_ahead_are_seen_on_their_day,
    trends_compare_the_months,
    peak_is_the_earliest_of_the_highest_days,
];

/// What was used, as plainly as it can be kept.
#[derive(Default)]
struct Model(Vec<(DateTime<Utc>, &'static str, String, i64)>);

const METRICS: [(Metric, &str); 2] = [(Metric::AiTokens, "ai_tokens"), (Metric::FileUploads, "file_uploads")];

impl Model {
    fn sum(&self, metric: &str, from: NaiveDate, to: NaiveDate) -> i64 {
        let days = from..to;
        self.0.iter().filter(|(at, of, ..)| *of == metric && days.contains(&at.date_naive())).map(|(.., quantity)| quantity).sum()
    }

    fn labels(&self, metric: &str, from: NaiveDate, to: NaiveDate) -> Value {
        let mut sums = BTreeMap::<&str, i64>::new();
        for (at, of, label, quantity) in &self.0 {
            if *of == metric && (from..to).contains(&at.date_naive()) {
                *sums.entry(label).or_default() += quantity;
            }
        }
        json!(sums)
    }
}

fn first_of_month(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap()
}

/// The reader signs in anew: the clock has moved.
fn reader(t: &TestApp, name: &str) -> Client {
    t.with_token(&tokens::claims(name, &t.clock).sign(crate::harness::SECRET))
}

/// Compares every figure of a user with the model.
async fn compare(t: &TestApp, model: &Model, name: &str, days: i64) {
    let client = reader(t, name);
    let now = t.clock.now();
    let (today, tomorrow) = (now.date_naive(), now.date_naive() + TimeDelta::days(1));
    let (start, month) = (today - TimeDelta::days(days - 1), first_of_month(today));
    let (previous, next) = (month - Months::new(1), month + Months::new(1));
    let midnight = |day: NaiveDate| format!("{day}T00:00:00Z");
    let summary = used(&client, &format!("summary?days={days}")).await;
    let current = used(&client, "current-period").await;
    assert_eq!((&summary["period_start"], &summary["days"]), (&json!(midnight(start)), &json!(days)));
    assert_eq!((&current["period_start"], &current["period_end"]), (&json!(midnight(month)), &json!(midnight(next))), "{now}");
    assert_eq!(current["days_remaining"], (next - today).num_days() - i64::from(now.num_seconds_from_midnight() > 0 || now.nanosecond() > 0), "{now}");
    for (_, metric) in METRICS {
        let total = model.sum(metric, start, tomorrow);
        let shown = |total: i64| if total > 0 { json!(total) } else { Value::Null };
        assert_eq!(summary["metrics"][metric]["total"], shown(total), "{now} {metric} {days}");
        let breakdown = used(&client, &format!("breakdown?metric={metric}&days={days}")).await;
        assert_eq!((&breakdown["total"], &breakdown["breakdown"]), (&json!(total), &model.labels(metric, start, tomorrow)), "{now}");
        let this_month = model.sum(metric, month, tomorrow);
        assert_eq!(current["usage"][metric], shown(this_month), "{now} {metric}");
        let trends = used(&client, &format!("trends?metric={metric}")).await;
        let before = model.sum(metric, previous, month);
        assert_eq!((&trends["current_period_total"], &trends["previous_period_total"]), (&json!(this_month), &json!(before)), "{now}");
        if days <= 90 {
            let daily = used(&client, &format!("daily?metric={metric}&days={days}")).await;
            let expected: serde_json::Map<String, Value> = (0..days)
                .map(|n| start + TimeDelta::days(n))
                .map(|day| (day.to_string(), json!(model.sum(metric, day, day + TimeDelta::days(1)))))
                .collect();
            assert_eq!((&daily["total"], &daily["daily_usage"]), (&json!(total), &Value::Object(expected)), "{now}");
        }
        let top = top_users(t, metric).await;
        assert_eq!(top.get(name).copied().unwrap_or(0), this_month, "{now} {metric}");
    }
}

async fn top_users(t: &TestApp, metric: &str) -> HashMap<String, i64> {
    let admin = reader(t, "the-admin");
    let body = admin.get(&format!("/admin/usage/top-users?metric={metric}&limit=100")).await.expect(200);
    let users = body["users"].as_array().unwrap().iter();
    users.map(|user| (user["user_id"].as_str().unwrap().to_owned(), user["usage"].as_i64().unwrap())).collect()
}

/// A step of a simulation: how far the clock goes, what is used then, and how many days are looked at.
type Step = (TimeDelta, Option<(usize, u8, i64)>, i64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // To a boundary and around it, some minutes, or some days.
    let forward = prop_oneof![
        3 => (0..120_i64).prop_map(TimeDelta::minutes),
        2 => Just(TimeDelta::MAX),
        1 => (1..20_i64).prop_map(TimeDelta::days),
        1 => Just(TimeDelta::microseconds(1)),
    ];
    let event = prop::option::weighted(0.8, (0..METRICS.len(), 0..4_u8, 1..50_i64));
    prop::collection::vec((forward, event, prop_oneof![Just(1_i64), 1..91_i64, 1..366_i64]), 40)
}

/// The last microsecond of the clock's day, or the first of the next one if it is that already.
fn to_boundary(now: DateTime<Utc>) -> TimeDelta {
    let next = (now.date_naive() + TimeDelta::days(1)).and_time(chrono::NaiveTime::MIN).and_utc();
    let last = next - TimeDelta::microseconds(1);
    if now == last { TimeDelta::microseconds(1) } else { last - now }
}

async fn figures_of_random_months_match_model(b: Backend) {
    let t = TestApp::with(b, &[("USAGE_TTL_DAYS", "3650")]).await;
    t.admin().await;
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha));
    // Begins in November of a year before a leap year: each case crosses a year's end, many a 29th of February.
    for (case, (year, month)) in [(2027, 11), (2028, 2), (2028, 12)].into_iter().enumerate() {
        let begin = NaiveDate::from_ymd_opt(year, month, 10).unwrap().and_hms_opt(12, 0, 0).unwrap().and_utc();
        t.clock.advance((begin - t.clock.now()).max(TimeDelta::zero()));
        let name = format!("user-{case}");
        fresh(&t, &name).await;
        let mut model = Model::default();
        for (forward, event, days) in steps().new_tree(&mut runner).unwrap().current() {
            let forward = if forward == TimeDelta::MAX { to_boundary(t.clock.now()) } else { forward };
            t.clock.advance(forward);
            if let Some((metric, label, quantity)) = event {
                let ((metric, metric_name), label) = (METRICS[metric], format!("label:{label}"));
                record(&t, &name, metric, quantity.unsigned_abs(), &label);
                model.0.push((t.clock.now(), metric_name, label, quantity));
            }
            stored(&t).await;
            compare(&t, &model, &name, days).await;
        }
    }
}

async fn event_at_the_first_instant_belongs_to_the_new_month(b: Backend) {
    let t = TestApp::start(b).await;
    let begin = NaiveDate::from_ymd_opt(2029, 12, 31).unwrap().and_hms_micro_opt(23, 59, 59, 999_999).unwrap().and_utc();
    t.clock.advance(begin - t.clock.now());
    fresh(&t, "amy").await;
    record(&t, "amy", Metric::AiTokens, 1, "model:a");
    t.clock.advance(TimeDelta::microseconds(1));
    record(&t, "amy", Metric::AiTokens, 10, "model:a");
    stored(&t).await;
    let trends = used(&reader(&t, "amy"), "trends?metric=ai_tokens").await;
    assert_eq!((&trends["current_period_total"], &trends["previous_period_total"]), (&json!(10), &json!(1)));
    assert_eq!((&trends["growth_rate_percent"], &trends["daily_average"], &trends["peak_day"]), (&json!(900.0), &json!(10.0), &json!("2030-01-01")));
}

async fn clock_set_back_counts_each_event_once(b: Backend) {
    let t = TestApp::start(b).await;
    let now = t.clock.now();
    fresh(&t, "amy").await;
    for hours in [0, -30, 5, -2] {
        t.clock.advance(TimeDelta::hours(hours));
        record(&t, "amy", Metric::AiTokens, 1, "model:a");
        stored(&t).await;
    }
    t.clock.advance(now - t.clock.now());
    assert_eq!(used(&reader(&t, "amy"), "daily?metric=ai_tokens&days=5").await["total"], 4);
}

async fn days_of_clocks_ahead_are_seen_on_their_day(b: Backend) {
    let t = TestApp::start(b).await;
    fresh(&t, "amy").await;
    record_at(&t, t.clock.now() + TimeDelta::days(1), "amy", Metric::AiTokens, 5, "model:a");
    stored(&t).await;
    let amy = reader(&t, "amy");
    assert_eq!(used(&amy, "daily?metric=ai_tokens").await["total"], 0);
    assert_eq!(used(&amy, "summary").await["metrics"]["ai_tokens"], Value::Null);
    t.clock.advance(TimeDelta::days(1));
    let amy = reader(&t, "amy");
    assert_eq!(used(&amy, "daily?metric=ai_tokens").await["total"], 5);
    assert_eq!(used(&amy, "summary").await["metrics"]["ai_tokens"]["total"], 5);
}

async fn trends_compare_the_months(b: Backend) {
    let t = TestApp::start(b).await;
    let begin = NaiveDate::from_ymd_opt(2028, 3, 3).unwrap().and_hms_opt(12, 0, 0).unwrap().and_utc();
    t.clock.advance(begin - t.clock.now());
    let amy = fresh(&t, "amy").await;
    let zero = used(&amy, "trends").await;
    let nothing = json!({"metric": "api_requests", "current_period_total": 0, "previous_period_total": 0, "growth_rate_percent": 0.0,
        "daily_average": 0.0, "peak_day": null, "peak_value": 0});
    assert_eq!(zero, nothing);
    let at = |month, day| NaiveDate::from_ymd_opt(2028, month, day).unwrap().and_hms_opt(1, 2, 3).unwrap().and_utc();
    record_at(&t, at(3, 1), "amy", Metric::AiTokens, 10, "model:a");
    stored(&t).await;
    let new = used(&amy, "trends?metric=ai_tokens").await;
    assert_eq!((&new["growth_rate_percent"], &new["daily_average"]), (&json!(100.0), &json!(3.33)));
    for (month, day, quantity) in [(2, 1, 20), (2, 29, 10), (1, 31, 500)] {
        record_at(&t, at(month, day), "amy", Metric::AiTokens, quantity, "model:a");
    }
    stored(&t).await;
    let both = used(&amy, "trends?metric=ai_tokens").await;
    assert_eq!((&both["current_period_total"], &both["previous_period_total"]), (&json!(10), &json!(30)));
    assert_eq!(both["growth_rate_percent"], json!(-66.67));
    let peak = (&both["peak_day"], &both["peak_value"]);
    assert_eq!(peak, (&json!("2028-02-29"), &json!(10)), "of 30 days: 3 February is not one of them; of equal days the earliest");
}

async fn peak_is_the_earliest_of_the_highest_days(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = fresh(&t, "amy").await;
    let today = t.clock.now().date_naive();
    for days in [0, 3, 29] {
        record_at(&t, t.clock.now() - TimeDelta::days(days), "amy", Metric::AiTokens, 7, "model:a");
    }
    record_at(&t, t.clock.now() - TimeDelta::days(30), "amy", Metric::AiTokens, 100, "model:a");
    stored(&t).await;
    let trends = used(&amy, "trends?metric=ai_tokens").await;
    assert_eq!((&trends["peak_day"], &trends["peak_value"]), (&json!((today - TimeDelta::days(29)).to_string()), &json!(7)));
}
