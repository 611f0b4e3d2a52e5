//! Checks for `omnistack doctor` and the start: whether Stripe accepts the key, has the prices, and sends the events that are needed.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::state::State;
use super::stripe_events::NEEDED;
use crate::app::App;
use crate::app::feature::Finding;
use crate::providers::payments::stripe::{API_VERSION, Config, Operation, Reply, StripeError, read};

const WHAT: &str = "stripe";
/// Limit on the calls together.
const LIMIT: Duration = Duration::from_secs(4);
/// Largest difference of the clocks without a warning. Webhooks are refused from 300 s on.
const SKEW: TimeDelta = TimeDelta::seconds(60);
const WEBHOOK_PATH: &str = "/api/v1/public/webhooks/stripe";
const KEYS: &str = "Check STRIPE_SECRET_KEY against the API keys in the Stripe dashboard";

/// What the start banner says of the feature.
pub fn banner(app: &App) -> String {
    let config = app.settings::<Config>();
    if app.state::<State>().stripe.is_none() {
        return "off (set STRIPE_SECRET_KEY)".to_owned();
    }
    let mode = if config.is_test_mode() { "test mode" } else { "live mode" };
    let webhook = if config.webhook_secrets.is_empty() { ", no webhook (set STRIPE_WEBHOOK_SECRET)" } else { "" };
    format!("stripe, {mode}{webhook}")
}

pub async fn diagnose(app: &App) -> Vec<Finding> {
    let config = app.settings::<Config>();
    let Some(stripe) = &app.state::<State>().stripe else {
        return vec![Finding::ok(WHAT, "not configured: checkout and portal are answered with 503")];
    };
    let operation = stripe.operation_within(LIMIT);
    let (prices, endpoints) = tokio::join!(prices(&operation, config), operation.webhook_endpoints());
    let mut found = of_settings(app, config);
    let replies = prices.iter().map(|(_, reply)| reply).chain([&endpoints]);
    let refused = replies.clone().filter_map(|reply| reply.as_ref().err()).find(|error| error.status == Some(StatusCode::UNAUTHORIZED));
    if refused.is_some() {
        found.push(Finding::warn(WHAT, "Stripe does not accept the key", KEYS));
        return found;
    }
    found.extend(replies.filter_map(|reply| reply.as_ref().ok()).find_map(|reply| clock_skew(app, reply)));
    found.extend(prices.iter().filter_map(|(price, reply)| of_price(price, reply)));
    found.extend(match &endpoints {
        Ok(reply) => of_endpoints(app, config, read::list(&reply.object)),
        Err(error) => vec![of_failure("its webhook endpoints", error)],
    });
    if found.is_empty() {
        found.push(Finding::ok(WHAT, "accepts the key, has the prices, and sends the events that are needed"));
    }
    found
}

fn of_settings(app: &App, config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut warn = |text: &str, remedy: &str| found.push(Finding::warn(WHAT, text, remedy));
    let key = config.secret_key.as_ref().map_or("", |key| key.expose_secret().trim());
    if !["sk_test_", "sk_live_", "rk_test_", "rk_live_"].iter().any(|prefix| key.starts_with(prefix)) {
        warn("STRIPE_SECRET_KEY does not look like a secret key (`sk_…` or `rk_…`)", KEYS);
    } else if app.config.core.environment.is_production() && config.is_test_mode() {
        warn("STRIPE_SECRET_KEY is a key of the test mode: nobody pays", "Use a key of the live mode in production");
    }
    if config.webhook_secrets.is_empty() {
        warn("STRIPE_WEBHOOK_SECRET is not set: purchases do not reach this service", "Set the signing secret of the webhook endpoint");
    } else if config.webhook_secrets.iter().any(|secret| !secret.expose_secret().starts_with("whsec_")) {
        let text = "STRIPE_WEBHOOK_SECRET holds a secret that does not begin with `whsec_`";
        warn(text, "Copy the signing secret of the webhook endpoint as it is");
    }
    for (variable, price) in [("STRIPE_PRICE_ID_MONTHLY", &config.price_monthly), ("STRIPE_PRICE_ID_YEARLY", &config.price_yearly)] {
        if price.is_none() {
            warn(&format!("{variable} is not set: a checkout of that interval is answered with 503"), "Set the id of a recurring price");
        }
    }
    found
}

/// A price of the configuration.
struct Configured<'c> {
    variable: &'static str,
    id: &'c str,
    /// As Stripe names it; `None` for any.
    interval: Option<&'static str>,
}

type Answer = Result<Reply, StripeError>;

async fn prices<'c>(operation: &Operation<'_>, config: &'c Config) -> Vec<(Configured<'c>, Answer)> {
    let one = |variable, id: &'c Option<String>, interval| id.as_deref().map(|id| Configured { variable, id, interval: Some(interval) });
    let monthly = one("STRIPE_PRICE_ID_MONTHLY", &config.price_monthly, "month");
    let yearly = one("STRIPE_PRICE_ID_YEARLY", &config.price_yearly, "year");
    let enterprise = config.prices_enterprise.iter();
    let enterprise = enterprise.map(|id| Configured { variable: "STRIPE_PRICE_ID_ENTERPRISE", id, interval: None });
    let all = monthly.into_iter().chain(yearly).chain(enterprise);
    join_all(all.map(|price| async move {
        let answer = operation.price(price.id).await;
        (price, answer)
    }))
    .await
}

fn of_price(price: &Configured<'_>, answer: &Answer) -> Option<Finding> {
    let (variable, id) = (price.variable, price.id);
    let warn = |text: String, remedy| Some(Finding::warn(WHAT, text, remedy));
    let object = match answer {
        Ok(reply) => &reply.object,
        Err(error) if error.is_missing() => {
            return warn(
                format!("{variable}: Stripe has no price {id}"),
                "Copy the id of the price, of the same mode (test, live) as the key",
            );
        }
        Err(error) => return Some(of_failure(&format!("the price of {variable}"), error)),
    };
    if object["active"] == false {
        return warn(format!("{variable}: the price {id} is archived"), "Name an active price");
    }
    let interval = read::text(&object["recurring"], "interval");
    match (interval, price.interval) {
        (None, _) => warn(format!("{variable}: the price {id} is not recurring"), "Name a recurring price"),
        (Some(interval), Some(wanted)) if interval != wanted => {
            warn(format!("{variable}: the price {id} is paid every {interval}, not every {wanted}"), "Exchange the ids of the prices")
        }
        _ => None,
    }
}

/// Looks for our endpoint among those of the account.
fn of_endpoints(app: &App, config: &Config, all: &[Value]) -> Vec<Finding> {
    let public = app.config.core.public_base_url.as_ref().map(|url| format!("{}{WEBHOOK_PATH}", url.as_str().trim_end_matches('/')));
    let is_ours = |endpoint: &&Value| match (read::text(endpoint, "url"), &public) {
        (Some(url), Some(ours)) => url.trim_end_matches('/') == ours,
        (Some(url), None) => url.trim_end_matches('/').ends_with(WEBHOOK_PATH),
        (None, _) => false,
    };
    let Some(endpoint) = all.iter().find(is_ours) else {
        // The Stripe CLI passes events on without an endpoint.
        if config.is_test_mode() && !app.config.core.environment.is_production() {
            return Vec::new();
        }
        let wanted = public.unwrap_or_else(|| format!("https://<this service>{WEBHOOK_PATH}"));
        return vec![Finding::warn(WHAT, "has no webhook endpoint for this service", format!("Add one in the Stripe dashboard: {wanted}"))];
    };
    let mut found = Vec::new();
    if read::text(endpoint, "status").is_some_and(|status| status != "enabled") {
        found.push(Finding::warn(WHAT, "the webhook endpoint is disabled", "Enable it in the Stripe dashboard"));
    }
    let version = read::text(endpoint, "api_version");
    if version != Some(API_VERSION) {
        let text = format!("the webhook endpoint has API version {}, not {API_VERSION}", version.unwrap_or("of the account"));
        found.push(Finding::warn(WHAT, text, format!("Make the endpoint anew with version {API_VERSION}")));
    }
    let enabled: Vec<&str> = endpoint["enabled_events"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let missing: Vec<&str> = NEEDED.into_iter().filter(|kind| !enabled.contains(kind) && !enabled.contains(&"*")).collect();
    if !missing.is_empty() {
        let text = format!("the webhook endpoint does not send {}", missing.join(", "));
        found.push(Finding::warn(WHAT, text, "Add these events to the endpoint in the Stripe dashboard"));
    }
    found
}

/// Compares our clock with that of Stripe.
fn clock_skew(app: &App, reply: &Reply) -> Option<Finding> {
    let skew = app.clock.now() - reply.at?;
    let text = || format!("this host's clock differs from Stripe's by {} s; webhooks are refused from 300 s on", skew.num_seconds());
    (skew.abs() > SKEW).then(|| Finding::warn(WHAT, text(), "Set the clock by NTP"))
}

fn of_failure(what: &str, error: &StripeError) -> Finding {
    let remedy = match error.status {
        Some(StatusCode::FORBIDDEN) => "Give the restricted key permission to read it, or use a secret key",
        _ => "Check STRIPE_API_BASE and the network; Stripe's status page may say more",
    };
    Finding::warn(WHAT, format!("{what} cannot be read ({error})"), remedy)
}
