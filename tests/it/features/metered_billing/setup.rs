//! Switched off, on and half on: the schedule, the warnings of the configuration, and what doctor finds.

use chrono::TimeDelta;
use omnistack::app::config::Config;
use omnistack::app::feature::{Feature, Level};
use omnistack::features::metered_billing::MeteredBilling;
use omnistack::platform::config::Env;
use serde_json::{Value, json};

use super::stub::{Stub, meter};
use super::{CALLS, customer, report, reporting, settings, uses};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![switched_off_reports_nothing, schedule_reports_at_each_interval];

crate::on_sqlite![doctor_compares_the_meters, doctor_tells_what_it_could_not_read];

/// The settings with these in place of others.
fn with<'a>(stub: &'a Stub, vars: &[(&'static str, &'static str)]) -> Vec<(&'a str, &'a str)> {
    settings(stub).into_iter().chain(vars.iter().copied()).collect()
}

async fn switched_off_reports_nothing(b: Backend) {
    for vars in [
        [("USAGE_STRIPE_SYNC_ENABLED", "")],
        [("USAGE_STRIPE_SYNC_ENABLED", "false")],
        [("USAGE_STRIPE_METERS", "")],
        [("STRIPE_SECRET_KEY", "")],
    ] {
        let stub = Stub::start().await;
        let t = TestApp::with(b, &with(&stub, &vars)).await;
        stub.set_clock(&t.clock);
        customer(&t, "ada").await;
        uses(&t, "ada", CALLS, 7).await;
        for _ in 0..3 {
            t.app.schedules.tick(&t.app.db, &t.app.jobs).await.unwrap();
            t.clock.advance(TimeDelta::hours(1));
        }
        assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE function = 'report_usage'").await, 0);
        assert_eq!(report(&t).await, json!({"enabled": false}));
        assert_eq!(MeteredBilling.diagnose(&t.app).await, []);
        assert!(stub.take_sent().is_empty());
        assert_eq!(t.number("SELECT COUNT(*) FROM usage_reports").await, 0);
    }
}

async fn schedule_reports_at_each_interval(b: Backend) {
    let stub = Stub::start().await;
    let t = TestApp::with(b, &with(&stub, &[("USAGE_STRIPE_SYNC_INTERVAL", "4/hour")])).await;
    stub.set_clock(&t.clock);
    customer(&t, "ada").await;
    let tick = async || t.app.schedules.tick(&t.app.db, &t.app.jobs).await.unwrap();
    tick().await;
    for round in 1..=3 {
        uses(&t, "ada", CALLS, 7).await;
        t.clock.advance(TimeDelta::minutes(15));
        tick().await;
        tick().await;
        assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE function = 'report_usage'").await, round);
        t.run_jobs().await;
    }
    assert!(stub.total("cus_ada") >= 14, "{}", stub.total("cus_ada"));
}

#[test]
fn settings_without_effect_are_warned_of() {
    let read = |vars: &[(&str, &str)]| {
        let vars = [("USAGE_STRIPE_SYNC_ENABLED", "true")].iter().chain(vars).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        match Config::load(Env::from_vars(vars), &omnistack::features::all()) {
            Ok(loaded) => (vec![], loaded.warnings),
            Err(found) => (found.problems, found.warnings),
        }
    };
    let about = |found: &[omnistack::platform::config::Problem], word: &str| found.iter().any(|problem| problem.to_string().contains(word));
    let (problems, warnings) = read(&[("USAGE_STRIPE_METERS", "api_requests=calls")]);
    assert!(problems.is_empty() && about(&warnings, "no effect without STRIPE_SECRET_KEY"), "{warnings:?}");
    let (problems, warnings) = read(&[("STRIPE_SECRET_KEY", "sk_test_key")]);
    assert!(problems.is_empty() && about(&warnings, "USAGE_STRIPE_METERS: is not set"), "{warnings:?}");
    for wrong in ["calls=api_requests", "api_requests=", "api_requests=a,api_requests=b"] {
        let (problems, _) = read(&[("STRIPE_SECRET_KEY", "sk_test_key"), ("USAGE_STRIPE_METERS", wrong)]);
        assert!(about(&problems, "USAGE_STRIPE_METERS"), "{problems:?}");
    }
}

/// Warnings as text.
async fn warnings(t: &TestApp) -> Vec<String> {
    let found = MeteredBilling.diagnose(&t.app).await;
    assert!(found.iter().all(|finding| finding.what == "meters"), "{found:?}");
    let warns = found.iter().filter(|finding| finding.level == Level::Warn);
    warns.map(|finding| format!("{}: {}", finding.text, finding.remedy)).collect()
}

/// Makes a meter that does not fit.
type Spoil = fn(&mut Value);

async fn doctor_compares_the_meters(b: Backend) {
    let stub = Stub::start().await;
    let t = reporting(b, &stub).await;
    let found = MeteredBilling.diagnose(&t.app).await;
    assert_eq!((found.len(), found[0].level), (1, Level::Ok), "{found:?}");
    let wrong: [(Spoil, &str); 5] = [
        (|meter| meter["status"] = "inactive".into(), "not active"),
        (|meter| meter["default_aggregation"]["formula"] = "count".into(), "sum up"),
        (|meter| meter["value_settings"]["event_payload_key"] = "amount".into(), "`value`"),
        (|meter| meter["customer_mapping"]["event_payload_key"] = "customer".into(), "`stripe_customer_id`"),
        (|meter| meter["event_time_window"] = "day".into(), "only the last one counts"),
    ];
    for (spoil, word) in wrong {
        let mut spoilt = meter("calls");
        spoil(&mut spoilt);
        stub.with(|account| account.meters = vec![spoilt, meter("other"), meter("tokens")]);
        let found = warnings(&t).await;
        assert!(found.len() == 1 && found[0].starts_with("api_requests: ") && found[0].contains(word), "{word}: {found:?}");
    }
    stub.with(|account| account.meters = vec![]);
    let found = warnings(&t).await;
    assert!(found.len() == 2 && found[1].contains("ai_tokens: Stripe has no meter of the event name tokens"), "{found:?}");
}

async fn doctor_tells_what_it_could_not_read(b: Backend) {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (stub, url) = (Stub::start().await, format!("http://{closed}"));
    let mut vars = settings(&stub);
    vars.push(("STRIPE_API_BASE", &url));
    let t = TestApp::with(b, &vars).await;
    let found = warnings(&t).await;
    assert!(found.len() == 1 && found[0].contains("cannot be read") && found[0].contains("STRIPE_API_BASE"), "{found:?}");
}
