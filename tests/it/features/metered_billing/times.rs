//! Days that turn, the 35 days that Stripe looks back, and doubts that outlive Stripe's memory of identifiers.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::json;

use super::stub::{Fault, Stub, meter};
use super::{CALLS, customer, day_of, day_where, ends_month, go_to, hours_pass, next_day, report, report_all, reporting, states, uses, uses_on};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    rest_of_a_day_is_reported_in_its_last_second,
    report_frozen_before_midnight_keeps_its_time,
    days_beyond_35_are_not_reported,
    report_that_waits_for_35_days_expires,
    day_of_a_fast_clock_waits,
    counted_report_in_doubt_is_confirmed_by_the_sum,
    lost_report_in_doubt_is_sent_again,
    sum_holds_earlier_reports_of_the_day,
    unreadable_sum_leaves_the_report,
    doubt_of_a_gone_customer_ends_with_its_refusal,
    doubt_within_a_day_asks_no_sum,
];

fn second_before(day: DateTime<Utc>) -> DateTime<Utc> {
    day - TimeDelta::seconds(1)
}

async fn rest_of_a_day_is_reported_in_its_last_second(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    let ends: [fn(DateTime<Utc>) -> bool; 3] = [|day| !ends_month(day), ends_month, |day| (day.month(), day.day()) == (12, 31)];
    for is in ends {
        let day = day_where(&t, is);
        let next = day + TimeDelta::days(1);
        go_to(&t, next - TimeDelta::milliseconds(500));
        uses(&t, "ada", CALLS, 3).await;
        report_all(&t, 1).await;
        uses(&t, "ada", CALLS, 4).await;
        go_to(&t, next);
        uses(&t, "ada", CALLS, 5).await;
        report_all(&t, 2).await;
        let sent = stub.take_sent();
        let mut times: Vec<_> = sent.iter().map(|event| (event.at(), event.value())).collect();
        times.sort();
        assert_eq!(times, [(second_before(next), 3), (second_before(next), 4), (next, 5)]);
    }
}

async fn report_frozen_before_midnight_keeps_its_time(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    let next = next_day(&t);
    go_to(&t, next - TimeDelta::minutes(10));
    uses(&t, "ada", CALLS, 3).await;
    stub.fail_next(&[Fault::CutAfter]);
    report(&t).await;
    uses(&t, "ada", CALLS, 4).await;
    go_to(&t, next + TimeDelta::minutes(30));
    report_all(&t, 1).await;
    report_all(&t, 1).await;
    let times: Vec<_> = stub.take_sent().iter().map(|event| (event.at(), event.value())).collect();
    let frozen = (next - TimeDelta::minutes(10), 3);
    assert_eq!(times, [frozen, frozen, (second_before(next), 4)]);
    assert_eq!(stub.total("cus_ada"), 7);
}

async fn days_beyond_35_are_not_reported(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    let today = day_of(t.clock.now());
    for days in [34, 35, 36, 37, 400] {
        uses_on(&t, "ada", CALLS, today - TimeDelta::days(days), days).await;
    }
    report_all(&t, 2).await;
    let mut times: Vec<_> = stub.take_sent().iter().map(|event| (event.at(), event.value())).collect();
    times.sort();
    let last = |days| (second_before(today - TimeDelta::days(days - 1)), days);
    assert_eq!(times, [last(35), last(34)]);
}

async fn report_that_waits_for_35_days_expires(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    uses(&t, "ada", CALLS, 3).await;
    stub.fail_next(&[Fault::CutAfter]);
    report(&t).await;
    t.clock.advance(TimeDelta::days(35) + TimeDelta::seconds(1));
    // The last second of the day is within the 35 days, but what expired may have been counted.
    assert_eq!(report(&t).await, json!({"delivered": 0, "refused": 0, "failed": 0, "expired": 1}));
    report_all(&t, 0).await;
    assert_eq!((stub.take_sent().len(), stub.total("cus_ada"), states(&t).await), (1, 3, vec!["expired".to_owned()]));
}

async fn day_of_a_fast_clock_waits(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    uses_on(&t, "ada", CALLS, next_day(&t), 3).await;
    report_all(&t, 0).await;
    go_to(&t, next_day(&t));
    report_all(&t, 1).await;
}

/// A report of 10 that was sent and not answered more than a day ago.
async fn in_doubt(t: &TestApp, stub: &Stub, fault: Fault) {
    customer(t, "ada").await;
    uses(t, "ada", CALLS, 10).await;
    stub.fail_next(&[fault]);
    assert_eq!(report(t).await["failed"], 1);
    stub.take_sent();
    uses(t, "ada", CALLS, 2).await;
    hours_pass(t, 25);
}

async fn counted_report_in_doubt_is_confirmed_by_the_sum(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    // The meter is not on the first page, and an inactive one of the same name is before it.
    let mut old = meter("calls");
    (old["id"], old["status"]) = ("mtr_old".into(), "inactive".into());
    stub.with(|account| account.meters = vec![old, meter("tokens"), meter("calls")]);
    in_doubt(&t, &stub, Fault::CutAfter).await;
    report_all(&t, 1).await;
    assert_eq!((stub.take_sent().len(), stub.summaries()), (0, 1));
    report_all(&t, 1).await;
    assert_eq!((stub.total("cus_ada"), states(&t).await), (12, vec!["delivered".to_owned(); 2]));
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    assert!(page.contains(r#"usage_reports_total{outcome="confirmed"} 1"#));
}

async fn lost_report_in_doubt_is_sent_again(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    in_doubt(&t, &stub, Fault::CutBefore).await;
    // Its repetition is lost, too: Stripe knows the identifier of this one for a day.
    stub.fail_next(&[Fault::CutAfter]);
    assert_eq!(report(&t).await["failed"], 1);
    hours_pass(&t, 1);
    report_all(&t, 1).await;
    report_all(&t, 1).await;
    let identifiers: std::collections::BTreeSet<_> = stub.take_sent().iter().map(|event| event.field("identifier").to_owned()).collect();
    assert_eq!((identifiers.len(), stub.summaries(), stub.total("cus_ada")), (2, 1, 12));
}

async fn sum_holds_earlier_reports_of_the_day(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    // Reports of other days, and of the same day, say nothing of the one in doubt.
    uses_on(&t, "ada", CALLS, t.clock.now() - TimeDelta::days(1), 50).await;
    uses(&t, "ada", CALLS, 40).await;
    report_all(&t, 2).await;
    t.clock.advance(TimeDelta::minutes(5));
    in_doubt(&t, &stub, Fault::CutBefore).await;
    uses(&t, "ada", CALLS, 100).await;
    stub.fail(|event| (event.value() == 100).then_some(Fault::CutBefore));
    assert_eq!(report(&t).await, json!({"delivered": 1, "refused": 0, "failed": 1, "expired": 0}));
    stub.recover();
    hours_pass(&t, 1);
    report_all(&t, 2).await;
    assert_eq!(stub.total("cus_ada"), 50 + 40 + 10 + 2 + 100);
}

async fn unreadable_sum_leaves_the_report(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    in_doubt(&t, &stub, Fault::CutAfter).await;
    stub.with(|account| account.blind = true);
    assert_eq!(report(&t).await["failed"], 1);
    stub.with(|account| (account.blind, account.meters) = (false, vec![meter("tokens")]));
    hours_pass(&t, 1);
    assert_eq!(report(&t).await["failed"], 1);
    assert_eq!(t.texts("SELECT error FROM usage_reports").await, ["stripe: there is no meter of the report's event name"]);
    stub.with(|account| account.meters = vec![meter("calls")]);
    hours_pass(&t, 1);
    report_all(&t, 1).await;
    assert!(stub.take_sent().is_empty());
    report_all(&t, 1).await;
    assert_eq!(stub.total("cus_ada"), 12);
}

async fn doubt_of_a_gone_customer_ends_with_its_refusal(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    in_doubt(&t, &stub, Fault::CutBefore).await;
    stub.with(|account| account.gone.insert("cus_ada".to_owned()));
    assert_eq!(report(&t).await["refused"], 1);
    super::become_customer(&t, "ada", "cus_new").await;
    report_all(&t, 1).await;
    assert_eq!((stub.total("cus_ada"), stub.total("cus_new")), (0, 12));
}

async fn doubt_within_a_day_asks_no_sum(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    uses(&t, "ada", CALLS, 10).await;
    stub.fail_next(&[Fault::CutAfter, Fault::CutAfter]);
    for (hours, delivered) in [(1, 0), (22, 0), (0, 1)] {
        assert_eq!(report(&t).await["delivered"], delivered);
        hours_pass(&t, hours);
    }
    assert_eq!((stub.take_sent().len(), stub.summaries(), stub.total("cus_ada")), (3, 0, 10));
}
