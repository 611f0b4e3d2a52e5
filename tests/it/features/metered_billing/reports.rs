//! What is reported: differences, word for word until they are answered, once.

use chrono::TimeDelta;
use serde_json::json;

use super::stub::{Event, Fault, Stub};
use super::{CALLS, TOKENS, become_customer, customer, hours_pass, report, report_all, reporting, settings, states, uses, uses_on};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    difference_is_reported_and_then_new_usage_only,
    only_configured_metrics_of_customers_are_reported,
    lost_answer_is_repeated_word_for_word,
    report_lost_after_the_answer_is_a_duplicate,
    duplicate_by_code_is_delivered,
    usage_of_a_gone_customer_goes_to_the_next_one,
    refused_usage_is_tried_again_after_a_day,
    refusal_after_a_lost_answer_is_not_believed,
    refused_key_ends_the_round,
    failures_in_a_row_end_the_round,
    failing_report_does_not_keep_others_back,
    two_runs_at_once_report_once,
    run_that_lost_its_lease_does_no_harm,
    erased_user_leaves_no_reports,
    old_reports_are_swept,
    metrics_count_outcomes_and_units,
];

/// The quantity and whether it is marked as reported, with the identifier of the last report.
async fn marks(t: &TestApp) -> Vec<String> {
    t.texts(
        "SELECT CASE WHEN reported_to_stripe THEN 'reported ' ELSE 'open ' END || CAST(quantity AS text) || ' '
         || COALESCE(stripe_usage_record_id, '-') FROM usage_records ORDER BY user_id, metric, period_start",
    )
    .await
}

async fn difference_is_reported_and_then_new_usage_only(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    uses(&t, "ada", CALLS, 7).await;
    report_all(&t, 1).await;
    let sent = stub.take_sent();
    let first = &sent[0];
    let identifier = first.field("identifier");
    assert_eq!((sent.len(), first.form.len()), (1, 5), "{first:?}");
    assert_eq!((first.field("event_name"), first.customer(), first.value()), ("calls", "cus_ada", 7));
    assert_eq!((first.field("timestamp").parse(), first.authorization.as_str()), (Ok(t.clock.now().timestamp()), "Bearer sk_test_key"));
    assert!(identifier.len() <= 100 && !identifier.contains("ada") && first.key.starts_with(identifier), "{first:?}");
    assert_eq!(marks(&t).await, [format!("reported 7 {identifier}")]);

    report_all(&t, 0).await;
    assert!(stub.take_sent().is_empty(), "nothing new was used");
    t.clock.advance(TimeDelta::minutes(1));
    uses(&t, "ada", CALLS, 5).await;
    assert_eq!(marks(&t).await, [format!("open 12 {identifier}")]);
    report_all(&t, 1).await;
    let second = stub.take_sent().remove(0);
    assert_eq!((second.value(), second.at()), (5, first.at() + TimeDelta::minutes(1)));
    assert_ne!(second.field("identifier"), identifier);
    assert_eq!(marks(&t).await, [format!("reported 12 {}", second.field("identifier"))]);
    assert_eq!(states(&t).await, ["delivered", "delivered"]);
}

async fn only_configured_metrics_of_customers_are_reported(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    t.user("bob").await;
    for user in ["ada", "bob"] {
        for metric in [CALLS, TOKENS, "email_sent"] {
            uses(&t, user, metric, 3).await;
        }
    }
    t.sql("UPDATE usage_records SET period_type = 'monthly' WHERE metric = 'ai_tokens' AND user_id = 'ada'").await;
    uses(&t, "ada", TOKENS, 0).await;
    report_all(&t, 1).await;
    assert_eq!((stub.total("cus_ada"), stub.take_sent().len()), (3, 1));
    become_customer(&t, "bob", "cus_bob").await;
    report_all(&t, 2).await;
    let mut names: Vec<_> = stub.take_sent().iter().map(|event| event.field("event_name").to_owned()).collect();
    names.sort();
    assert_eq!(names, ["calls", "tokens"]);
}

/// Everything of an event that must not change when it is repeated.
fn words(events: &[Event]) -> Vec<&std::collections::BTreeMap<String, String>> {
    events.iter().map(|event| &event.form).collect()
}

async fn lost_answer_is_repeated_word_for_word(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    for (index, fault) in [
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Status(500),
        Fault::CountedThen(500),
        Fault::CountedThen(503),
        Fault::Status(429),
        Fault::Status(409),
        Fault::Status(302),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("user{index}");
        customer(&t, &user).await;
        uses(&t, &user, CALLS, 10).await;
        stub.fail_next(&[fault, fault]);
        for _ in 0..2 {
            assert_eq!(report(&t).await["failed"], 1, "{fault:?}");
            report_all(&t, 0).await;
            uses(&t, &user, CALLS, 4).await;
            hours_pass(&t, 1);
        }
        report_all(&t, 1).await;
        let sent = stub.take_sent();
        assert_eq!((sent.len(), words(&sent)), (3, vec![&sent[0].form; 3]), "{fault:?}");
        report_all(&t, 1).await;
        let rest = stub.take_sent().remove(0);
        assert_eq!((rest.value(), stub.total(&format!("cus_{user}"))), (8, 18), "{fault:?}");
    }
    let errors = t.texts("SELECT DISTINCT COALESCE(error, '') FROM usage_reports").await;
    assert_eq!(errors, [""], "what is delivered has no error");
}

/// A process that is killed between Stripe's answer and its own mark leaves the report as it was sent.
async fn report_lost_after_the_answer_is_a_duplicate(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    uses(&t, "ada", CALLS, 10).await;
    report_all(&t, 1).await;
    t.sql("UPDATE usage_reports SET state = 'pending'").await;
    t.sql("UPDATE usage_records SET reported_to_stripe = FALSE, stripe_usage_record_id = NULL").await;
    uses(&t, "ada", CALLS, 6).await;
    hours_pass(&t, 1);
    report_all(&t, 1).await;
    report_all(&t, 1).await;
    let sent = stub.take_sent();
    assert_eq!(words(&sent[..2]), [&sent[0].form; 2]);
    assert_eq!((sent.len(), sent[2].value(), stub.total("cus_ada")), (3, 6, 16));
    assert_eq!(marks(&t).await, [format!("reported 16 {}", sent[2].field("identifier"))]);
}

async fn duplicate_by_code_is_delivered(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    uses(&t, "ada", CALLS, 10).await;
    stub.fail_next(&[Fault::DuplicateByCode]);
    report_all(&t, 1).await;
    assert_eq!(states(&t).await, ["delivered"]);
}

async fn usage_of_a_gone_customer_goes_to_the_next_one(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    customer(&t, "bob").await;
    uses(&t, "ada", CALLS, 10).await;
    uses(&t, "bob", CALLS, 2).await;
    stub.with(|account| account.gone.insert("cus_ada".to_owned()));
    assert_eq!(report(&t).await, json!({"delivered": 1, "refused": 1, "failed": 0, "expired": 0}));
    let error = t.texts("SELECT error FROM usage_reports WHERE state = 'refused'").await;
    assert_eq!(error, ["stripe: 400 invalid_request_error resource_missing"]);
    report_all(&t, 0).await;
    become_customer(&t, "ada", "cus_new").await;
    uses(&t, "ada", CALLS, 1).await;
    report_all(&t, 1).await;
    assert_eq!((stub.total("cus_ada"), stub.total("cus_new"), stub.total("cus_bob")), (0, 11, 2));
    report_all(&t, 0).await;
}

async fn refused_usage_is_tried_again_after_a_day(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    uses(&t, "ada", CALLS, 10).await;
    stub.fail(|_| Some(Fault::Refuse));
    assert_eq!(report(&t).await["refused"], 1);
    hours_pass(&t, 23);
    report_all(&t, 0).await;
    stub.recover();
    hours_pass(&t, 2);
    report_all(&t, 1).await;
    let sent = stub.take_sent();
    assert_eq!((sent.len(), stub.total("cus_ada")), (2, 10));
    assert_ne!(sent[0].field("identifier"), sent[1].field("identifier"));
}

async fn refusal_after_a_lost_answer_is_not_believed(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    for (user, fault, total) in [("ada", Fault::CutAfter, 10), ("bob", Fault::CutBefore, 10)] {
        customer(&t, user).await;
        uses(&t, user, CALLS, 10).await;
        stub.fail_next(&[fault, Fault::Refuse]);
        for _ in 0..2 {
            assert_eq!(report(&t).await, json!({"delivered": 0, "refused": 0, "failed": 1, "expired": 0}));
            hours_pass(&t, 2);
        }
        hours_pass(&t, 22);
        report_all(&t, 1).await;
        assert_eq!(stub.total(&format!("cus_{user}")), total, "{user}");
    }
}

async fn refused_key_ends_the_round(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    for user in ["ada", "bob"] {
        customer(&t, user).await;
        uses(&t, user, CALLS, 10).await;
    }
    for status in [401, 403] {
        stub.fail(move |_| Some(Fault::Status(status)));
        assert_eq!(report(&t).await, json!({"delivered": 0, "refused": 0, "failed": 1, "expired": 0}));
        assert_eq!(stub.take_sent().len(), 1);
        assert_eq!(t.number("SELECT COUNT(*) FROM usage_reports WHERE first_sent_at IS NOT NULL").await, 0, "nothing is in doubt");
        hours_pass(&t, 1);
    }
    stub.recover();
    report_all(&t, 2).await;
    assert_eq!((stub.total("cus_ada"), stub.total("cus_bob")), (10, 10));
}

async fn failures_in_a_row_end_the_round(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    for user in 0..7 {
        customer(&t, &format!("user{user}")).await;
        uses(&t, &format!("user{user}"), CALLS, 1).await;
    }
    stub.fail(|_| Some(Fault::Status(503)));
    assert_eq!(report(&t).await["failed"], 5);
    assert_eq!(stub.take_sent().len(), 5);
    stub.recover();
    hours_pass(&t, 1);
    // The breaker of this process is open for half a minute.
    let other = t.second(&settings(&stub)).await;
    report_all(&other, 7).await;
    assert_eq!(stub.with(|account| account.counted.len()), 7);
}

async fn failing_report_does_not_keep_others_back(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    for user in 0..5 {
        customer(&t, &format!("bad{user}")).await;
        uses(&t, &format!("bad{user}"), CALLS, 1).await;
    }
    stub.fail(|event| event.customer().starts_with("cus_bad").then_some(Fault::Status(409)));
    report(&t).await;
    hours_pass(&t, 1);
    customer(&t, "good").await;
    uses(&t, "good", CALLS, 3).await;
    assert_eq!(report(&t).await, json!({"delivered": 1, "refused": 0, "failed": 5, "expired": 0}));
    assert_eq!(stub.total("cus_good"), 3);
}

async fn two_runs_at_once_report_once(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    let other = t.second(&settings(&stub)).await;
    for user in 0..12 {
        customer(&t, &format!("user{user}")).await;
        uses_on(&t, &format!("user{user}"), CALLS, t.clock.now() - TimeDelta::days(1), 5).await;
    }
    for _ in 0..3 {
        for user in 0..12 {
            uses(&t, &format!("user{user}"), CALLS, 3).await;
        }
        tokio::join!(report(&t), report(&other));
        report(&t).await;
    }
    for user in 0..12 {
        assert_eq!(stub.total(&format!("cus_user{user}")), 14);
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM usage_reports WHERE state <> 'delivered'").await, 0);
    // While one run waits for an answer, another one has nothing to do.
    uses(&t, "user0", CALLS, 1).await;
    stub.take_sent();
    let gate = stub.hold_next();
    let (first, ()) = tokio::join!(report(&t), async {
        gate.reached().await;
        report_all(&other, 0).await;
        gate.open();
    });
    assert_eq!((&first["delivered"], stub.take_sent().len()), (&json!(1), 1));
}

async fn run_that_lost_its_lease_does_no_harm(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    let other = t.second(&settings(&stub)).await;
    customer(&t, "ada").await;
    uses(&t, "ada", CALLS, 10).await;
    let gate = stub.hold_next();
    tokio::join!(report(&t), async {
        gate.reached().await;
        hours_pass(&t, 2);
        uses(&t, "ada", CALLS, 5).await;
        report_all(&other, 1).await;
        report_all(&other, 1).await;
        gate.open();
    });
    assert_eq!((stub.total("cus_ada"), stub.take_sent().len()), (15, 3));
    assert_eq!(states(&t).await, ["delivered", "delivered"]);
    assert!(marks(&t).await[0].starts_with("reported 15 "));
}

async fn erased_user_leaves_no_reports(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    for user in ["ada", "bob"] {
        customer(&t, user).await;
        uses(&t, user, CALLS, 10).await;
    }
    stub.fail_next(&[Fault::CutAfter]);
    report(&t).await;
    t.sql("DELETE FROM usage_records WHERE user_id = 'ada'").await;
    t.erase("ada").await.unwrap();
    assert_eq!(t.texts("SELECT user_id FROM usage_reports").await, ["bob"]);
}

async fn old_reports_are_swept(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    uses(&t, "ada", CALLS, 10).await;
    report(&t).await;
    for (days, left) in [(119, 1), (2, 0)] {
        t.clock.advance(TimeDelta::days(days));
        t.run_function("cleanup_old_data", json!({})).await.unwrap().1.unwrap();
        assert_eq!(t.number("SELECT COUNT(*) FROM usage_reports").await, left);
    }
}

async fn metrics_count_outcomes_and_units(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    customer(&t, "ada").await;
    uses(&t, "ada", CALLS, 10).await;
    stub.fail_next(&[Fault::CutAfter]);
    report(&t).await;
    hours_pass(&t, 1);
    report(&t).await;
    uses(&t, "ada", CALLS, 3).await;
    report(&t).await;
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    for line in [
        r#"usage_reports_total{outcome="failed"} 1"#,
        r#"usage_reports_total{outcome="duplicate"} 1"#,
        r#"usage_reports_total{outcome="delivered"} 1"#,
        r#"usage_reported_units_total{metric="api_requests"} 13"#,
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}
