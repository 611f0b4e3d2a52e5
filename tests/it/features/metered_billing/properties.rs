//! Property test of random histories: usage grows, rounds run alone and at once, answers are lost, marks are lost with their
//! process, hours and days pass. Stripe never counts more than was used, and in the end exactly that, on the right days.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::stub::{Fault, Stub};
use super::{CALLS, TOKENS, customer, day_of, report, reporting, settings, uses, uses_on};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![random_histories_are_billed_once];

const CASES: u32 = 64;

#[derive(Debug, Clone)]
enum Step {
    Use(&'static str, i64),
    /// The recorder stores what is left of the day before.
    UseYesterday(i64),
    Report(Vec<Option<Fault>>),
    ReportTwice(Vec<Option<Fault>>),
    /// The process is killed after Stripe's answer, before its own mark.
    LoseMarks,
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    use Fault::{CountedThen, CutAfter, CutBefore, Refuse, Status};
    let fault = prop::sample::select(&[CutBefore, CutAfter, CutAfter, Status(500), CountedThen(500), Status(429), Status(409), Refuse][..]);
    let faults = prop::collection::vec(prop::option::of(fault), 0..5);
    prop_oneof![
        4 => (prop::sample::select(&[CALLS, TOKENS][..]), 1_i64..100).prop_map(|(metric, value)| Step::Use(metric, value)),
        1 => (1_i64..100).prop_map(Step::UseYesterday),
        4 => faults.clone().prop_map(Step::Report),
        1 => faults.prop_map(Step::ReportTwice),
        1 => Just(Step::LoseMarks),
        3 => prop::sample::select(&[1, 1, 1, 5, 23, 25, 49][..]).prop_map(Step::Pass),
    ]
}

type Days = BTreeMap<DateTime<Utc>, i64>;

/// What Stripe counted of the customer on each day.
fn counted(stub: &Stub, customer: &str) -> Days {
    let mut days = Days::new();
    stub.with(|account| {
        for event in account.counted.iter().filter(|event| event.customer() == customer) {
            *days.entry(day_of(event.at())).or_default() += event.value();
        }
    });
    days
}

/// Lets the next events fail. A process whose calls fail four times in a row gets an answer then, because its circuit breaker
/// would open.
fn plan(stub: &Stub, rows: &Rows, faults: &[Option<Fault>]) {
    let (mut faults, rows) = (Vec::from(faults).into_iter(), rows.clone());
    stub.fail(move |event| {
        let mut rows = rows.lock().unwrap();
        let row = rows.entry(event.authorization.clone()).or_default();
        let fault = faults.next().flatten();
        let opens = !matches!(fault, None | Some(Fault::Refuse | Fault::Status(409 | 429)));
        *row = if opens && *row < 4 { *row + 1 } else { 0 };
        if opens && *row == 0 { Some(Fault::Status(409)) } else { fault }
    });
}

/// Failures in a row of each process, known by its key.
type Rows = Arc<Mutex<HashMap<String, u32>>>;

async fn play((t, two): (&TestApp, &TestApp), stub: &Stub, rows: &Rows, user: &str, steps: &[Step]) -> Days {
    let (mut used, name) = (Days::new(), format!("cus_{user}"));
    for step in steps {
        let now = t.clock.now();
        match step {
            Step::Use(metric, value) => {
                uses(t, user, metric, *value).await;
                *used.entry(day_of(now)).or_default() += value;
            }
            Step::UseYesterday(value) => {
                let yesterday = now - TimeDelta::days(1);
                uses_on(t, user, CALLS, yesterday, *value).await;
                *used.entry(day_of(yesterday)).or_default() += value;
            }
            Step::Report(faults) => {
                plan(stub, rows, faults);
                report(t).await;
            }
            Step::ReportTwice(faults) => {
                plan(stub, rows, faults);
                tokio::join!(report(t), report(two));
            }
            Step::LoseMarks => {
                let since = (now - TimeDelta::hours(1)).format("%FT%T%.6f+00:00");
                // Only the last report of a day can be in this state.
                t.sql(&format!(
                    "UPDATE usage_reports SET state = 'pending', first_sent_at = COALESCE(first_sent_at, updated_at)
                     WHERE user_id = '{user}' AND state = 'delivered' AND updated_at >= '{since}' AND number =
                         (SELECT MAX(number) FROM usage_reports AS p WHERE p.user_id = usage_reports.user_id
                          AND p.metric = usage_reports.metric AND p.day = usage_reports.day)"
                ))
                .await;
                t.sql(&format!(
                    "UPDATE usage_records SET reported_to_stripe = FALSE WHERE user_id = '{user}' AND EXISTS
                         (SELECT 1 FROM usage_reports AS p WHERE p.state = 'pending' AND p.user_id = usage_records.user_id
                          AND p.metric = usage_records.metric AND p.day = usage_records.period_start)"
                ))
                .await;
            }
            Step::Pass(hours) => t.clock.advance(TimeDelta::hours(*hours)),
        }
        let counted = counted(stub, &name);
        assert!(counted.iter().all(|(day, value)| value <= used.get(day).unwrap_or(&0)), "{step:?}: {counted:?} of {used:?}");
    }
    used
}

async fn random_histories_are_billed_once(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    let mut vars = settings(&stub);
    vars.push(("STRIPE_SECRET_KEY", "sk_test_two"));
    let (two, rows) = (t.second(&vars).await, Rows::default());
    let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
    let strategy = prop::collection::vec(step(), 1..25);
    for case in 0..CASES {
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        let user = format!("user{case}");
        customer(&t, &user).await;
        let used = play((&t, &two), &stub, &rows, &user, &steps).await;
        stub.recover();
        // What is refused is reported again after a day.
        for hours in [1, 1, 25, 1, 25, 1] {
            t.clock.advance(TimeDelta::hours(hours));
            report(&t).await;
        }
        assert_eq!(counted(&stub, &format!("cus_{user}")), used, "{steps:?}");
        let open = "SELECT COUNT(*) FROM usage_reports WHERE state IN ('pending', 'expired')";
        assert_eq!(t.number(open).await, 0, "{steps:?}");
        assert_eq!(t.number("SELECT COUNT(*) FROM usage_records WHERE reported_to_stripe = FALSE").await, 0, "{steps:?}");
    }
}
