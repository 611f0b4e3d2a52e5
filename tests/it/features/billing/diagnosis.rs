//! Checks for doctor and the start: key, prices, webhook endpoint, clocks; and the start banner.

use chrono::TimeDelta;
use omnistack::app::feature::{Feature, Finding, Level};
use omnistack::features::billing::Billing;
use serde_json::{Value, json};

use super::stub::{Stub, error};
use super::{selling, settings};
use crate::harness::{Backend, TestApp};

crate::on_sqlite![
    doctor_accepts_a_complete_setup,
    doctor_without_a_key_asks_nothing,
    doctor_names_a_refused_key,
    doctor_names_wrong_prices,
    doctor_compares_the_webhook_endpoint,
    doctor_names_missing_settings,
    doctor_compares_clocks,
    doctor_with_failing_stripe_names_what_it_could_not_read,
    banner_tells_the_mode,
];

fn price(interval: &str) -> Value {
    json!({"id": "price", "active": true, "recurring": {"interval": interval}})
}

fn endpoint(change: impl FnOnce(&mut Value)) -> Value {
    let mut endpoint = json!({"id": "we_1", "url": "https://api.example.com/api/v1/public/webhooks/stripe", "status": "enabled",
        "api_version": "2026-09-30.endive", "enabled_events": ["*"]});
    change(&mut endpoint);
    endpoint
}

async fn complete() -> Stub {
    let stub = Stub::start().await;
    stub.with(|account| {
        for (id, interval) in [("price_month", "month"), ("price_year", "year"), ("price_big", "year")] {
            account.prices.insert(id.to_owned(), price(interval));
        }
        account.endpoints = vec![endpoint(|_| {})];
    });
    stub
}

/// Warnings as text.
async fn warnings(t: &TestApp) -> Vec<String> {
    let found = Billing.diagnose(&t.app).await;
    assert!(found.iter().all(|finding| finding.what == "stripe" && !finding.text.contains("sk_test_key")), "{found:?}");
    let warns = found.iter().filter(|finding| finding.level == Level::Warn);
    warns.map(|Finding { text, remedy, .. }| format!("{text}: {remedy}")).collect()
}

#[track_caller]
fn expect_one(found: &[String], word: &str) {
    assert!(found.len() == 1 && found[0].contains(word), "{word}: {found:?}");
}

async fn doctor_accepts_a_complete_setup(b: Backend) {
    let stub = complete().await;
    let t = selling(b, &stub).await;
    let found = Billing.diagnose(&t.app).await;
    assert_eq!((found.len(), found[0].level), (1, Level::Ok), "{found:?}");
    let mut asked: Vec<String> = stub.take_calls();
    asked.sort();
    assert_eq!(asked, ["GET /v1/prices/price_big", "GET /v1/prices/price_month", "GET /v1/prices/price_year", "GET /v1/webhook_endpoints"]);
    let needed = ["checkout.session.completed", "customer.subscription.created", "customer.subscription.updated",
        "customer.subscription.deleted", "invoice.paid", "invoice.payment_failed", "customer.deleted"];
    stub.with(|account| account.endpoints = vec![endpoint(|endpoint| endpoint["enabled_events"] = json!(needed))]);
    assert_eq!(warnings(&t).await, [""; 0]);
}

async fn doctor_without_a_key_asks_nothing(b: Backend) {
    let stub = complete().await;
    let t = TestApp::with(b, &[("STRIPE_API_BASE", &stub.url)]).await;
    assert_eq!((warnings(&t).await, stub.asked().len()), (vec![], 0));
}

async fn doctor_names_a_refused_key(b: Backend) {
    let stub = complete().await;
    let t = selling(b, &stub).await;
    stub.overrule(|_| Some(error(401, "invalid_request_error", "", "")));
    expect_one(&warnings(&t).await, "does not accept the key");
    // A restricted key may lack one permission.
    stub.overrule(|asked| (asked.path == "/v1/webhook_endpoints").then(|| error(403, "invalid_request_error", "", "")));
    expect_one(&warnings(&t).await, "permission");
}

async fn doctor_names_wrong_prices(b: Backend) {
    let stub = complete().await;
    let t = selling(b, &stub).await;
    for (id, wrong, word) in [
        ("price_month", price("year"), "STRIPE_PRICE_ID_MONTHLY"),
        ("price_year", price("month"), "STRIPE_PRICE_ID_YEARLY"),
        ("price_big", json!({"active": true, "recurring": null}), "not recurring"),
        ("price_big", json!({"active": false, "recurring": {"interval": "month"}}), "archived"),
    ] {
        let before = stub.with(|account| account.prices.insert(id.to_owned(), wrong)).unwrap();
        expect_one(&warnings(&t).await, word);
        stub.with(|account| account.prices.insert(id.to_owned(), before));
    }
    stub.with(|account| account.prices.remove("price_year"));
    expect_one(&warnings(&t).await, "has no price price_year");
}

async fn doctor_compares_the_webhook_endpoint(b: Backend) {
    let stub = complete().await;
    let mut vars = settings(&stub);
    vars.push(("PUBLIC_BASE_URL", "https://api.example.com"));
    let t = TestApp::with(b, &vars).await;
    assert_eq!(warnings(&t).await, [""; 0]);
    for (change, word) in [
        (json!({"api_version": "2024-06-20"}), "2024-06-20"),
        (json!({"api_version": null}), "of the account"),
        (json!({"status": "disabled"}), "disabled"),
        (json!({"enabled_events": ["customer.deleted", "invoice.paid"]}), "checkout.session.completed"),
    ] {
        let changed = endpoint(|endpoint| endpoint.as_object_mut().unwrap().extend(change.as_object().unwrap().clone()));
        stub.with(|account| account.endpoints = vec![changed]);
        expect_one(&warnings(&t).await, word);
    }
    // In test mode the Stripe CLI may pass events on; in live mode there must be an endpoint.
    stub.with(|account| account.endpoints = vec![endpoint(|endpoint| endpoint["url"] = "https://other.example/hook".into())]);
    assert_eq!(warnings(&t).await, [""; 0]);
    vars.push(("STRIPE_SECRET_KEY", "sk_live_key"));
    let t = TestApp::with(b, &vars).await;
    expect_one(&warnings(&t).await, "https://api.example.com/api/v1/public/webhooks/stripe");
}

async fn doctor_names_missing_settings(b: Backend) {
    for (name, value, word) in [
        ("STRIPE_WEBHOOK_SECRET", "", "STRIPE_WEBHOOK_SECRET is not set"),
        ("STRIPE_WEBHOOK_SECRET", "x", "whsec_"),
        ("STRIPE_SECRET_KEY", "pk_test_key", "does not look like a secret key"),
        ("STRIPE_PRICE_ID_YEARLY", "", "STRIPE_PRICE_ID_YEARLY is not set"),
    ] {
        let stub = complete().await;
        let mut vars = settings(&stub);
        vars.push((name, value));
        expect_one(&warnings(&TestApp::with(b, &vars).await).await, word);
    }
}

async fn doctor_compares_clocks(b: Backend) {
    let stub = complete().await;
    let t = selling(b, &stub).await;
    t.clock.advance(TimeDelta::seconds(90));
    expect_one(&warnings(&t).await, "clock");
}

async fn doctor_with_failing_stripe_names_what_it_could_not_read(b: Backend) {
    let stub = complete().await;
    let t = selling(b, &stub).await;
    stub.answer_raw(400, ("content-type", "text/html"), "<html>canary</html>");
    let found = warnings(&t).await;
    assert!(found.len() == 4 && found.iter().all(|text| text.contains("stripe: 400") && !text.contains("canary")), "{found:?}");
}

async fn banner_tells_the_mode(b: Backend) {
    let stub = Stub::start().await;
    let line = |t: &TestApp| Billing.banner(&t.app)[0].1.clone();
    assert_eq!(line(&TestApp::start(b).await), "off (set STRIPE_SECRET_KEY)");
    assert_eq!(line(&selling(b, &stub).await), "stripe, test mode");
    let mut vars = settings(&stub);
    vars.extend([("STRIPE_SECRET_KEY", "sk_live_key"), ("STRIPE_WEBHOOK_SECRET", "")]);
    assert_eq!(line(&TestApp::with(b, &vars).await), "stripe, live mode, no webhook (set STRIPE_WEBHOOK_SECRET)");
}
