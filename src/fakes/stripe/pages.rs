//! The pages that a person or a test clicks: checkout and portal.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::DateTime;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};
use minijinja::{Environment, context};
use serde_json::Value;

use super::delivery;
use super::lifecycle::{self, Cancel};
use super::params::Params;
use super::refusal::Refusal;
use super::shared::Shared;
use super::world::{Kind, World};

const TEMPLATES: [(&str, &str); 5] = [
    ("frame.html", include_str!("templates/frame.html")),
    ("checkout.html", include_str!("templates/checkout.html")),
    ("portal.html", include_str!("templates/portal.html")),
    ("control.html", include_str!("templates/control.html")),
    ("message.html", include_str!("templates/message.html")),
];

/// No scripts and nothing from elsewhere. Forms lead to other hosts: `success_url` is one.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'");

/// What Stripe puts into `success_url`.
const SESSION_ID: &str = "{CHECKOUT_SESSION_ID}";

/// `GET /c/pay/{session}`
pub async fn checkout(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let world = shared.world();
    show_checkout(&world, &id, None)
}

fn show_checkout(world: &World, id: &str, alert: Option<&str>) -> Response {
    let found = world.get(Kind::Checkout, id, "id").ok().zip(world.orders.get(id));
    let Some((session, order)) = found else { return message(StatusCode::NOT_FOUND, "There is no such checkout.") };
    if session["status"] != "open" {
        return message(StatusCode::GONE, "This checkout is over.");
    }
    let Ok(price) = world.price(&order.price, "price") else { return message(StatusCode::GONE, "The price is gone.") };
    let shown = context! {
        name => price.name.as_str(),
        amount => format!("{}.{:02}", price.amount / 100, price.amount % 100),
        interval => price.interval.name(),
        email => session["customer_details"]["email"].as_str(),
        can_leave => session["cancel_url"].is_string(),
        alert => alert,
    };
    render(StatusCode::OK, "checkout.html", &shown)
}

/// `POST /c/pay/{session}` with `action` `pay`, `pay_and_cancel`, `decline` or `leave`
pub async fn act_on_checkout(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response {
    let form = Params::parse(&body);
    let text = |name: &str| {
        let session = shared.world().get(Kind::Checkout, &id, "id").ok().cloned();
        session.and_then(|session| session[name].as_str().map(str::to_owned))
    };
    match form.text("action") {
        Some("decline") => return show_checkout(&shared.world(), &id, Some("The card was declined. Nothing was paid.")),
        Some("leave") => {
            return text("cancel_url")
                .map_or_else(|| message(StatusCode::NOT_FOUND, "There is no way back."), |url| Redirect::to(&url).into_response());
        }
        Some("pay" | "pay_and_cancel") => {}
        _ => return message(StatusCode::BAD_REQUEST, "Unknown action."),
    }
    let bought = lifecycle::buy(&mut shared.world(), &id);
    let subscription = match bought {
        Ok(subscription) => subscription,
        Err(refusal) => return refused(&refusal),
    };
    delivery::send_and_wait(&shared).await;
    if form.text("action") == Some("pay_and_cancel") {
        if let Err(refusal) = lifecycle::cancel(&mut shared.world(), &subscription, Cancel::AtPeriodEnd) {
            return refused(&refusal);
        }
        delivery::send_and_wait(&shared).await;
    }
    let back = text("success_url").unwrap_or_default().replace(SESSION_ID, &id);
    Redirect::to(&back).into_response()
}

/// `GET /p/session/{session}`
pub async fn portal(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let world = shared.world();
    let Ok(session) = world.get(Kind::Portal, &id, "id") else { return message(StatusCode::NOT_FOUND, "There is no such session.") };
    let all = world.all(Kind::Subscription).iter().rev().filter(|subscription| subscription["customer"] == session["customer"]);
    let subscriptions: Vec<_> = all.map(shown).collect();
    let invoices = world.all(Kind::Invoice).iter().rev().filter(|invoice| invoice["customer"] == session["customer"]);
    let invoices: Vec<_> = invoices
        .map(|invoice| context! { number => invoice["number"].as_str(), status => invoice["status"].as_str(), at => time(&invoice["created"]) })
        .collect();
    let shown = context! { subscriptions => subscriptions, invoices => invoices, return_url => session["return_url"].as_str() };
    render(StatusCode::OK, "portal.html", &shown)
}

/// What the pages show of a subscription.
pub fn shown(subscription: &Value) -> minijinja::Value {
    context! {
        id => subscription["id"].as_str(),
        customer => subscription["customer"].as_str(),
        name => subscription["items"]["data"][0]["price"]["nickname"].as_str(),
        status => subscription["status"].as_str(),
        ended => lifecycle::has_ended(subscription),
        ends => lifecycle::is_set_to_cancel(subscription),
        period_end => time(&lifecycle::period_end(subscription).into()),
        cancel_at => time(&subscription["cancel_at"]),
    }
}

/// `POST /p/session/{session}` with `subscription` and `action` `cancel`, `resume`, `end`, `fail` or `pay`
pub async fn act_on_portal(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response {
    let form = Params::parse(&body);
    let changed = {
        let mut world = shared.world();
        own_subscription(&world, &id, &form).and_then(|subscription| match form.text("action") {
            Some("cancel") => lifecycle::cancel(&mut world, &subscription, Cancel::AtPeriodEnd),
            Some("resume") => lifecycle::cancel(&mut world, &subscription, Cancel::Never),
            Some("end") => lifecycle::end(&mut world, &subscription),
            Some("fail") => lifecycle::fail_payment(&mut world, &subscription),
            Some("pay") => lifecycle::pay(&mut world, &subscription),
            _ => Err(Refusal::state("Unknown action.")),
        })
    };
    if let Err(refusal) = changed {
        return refused(&refusal);
    }
    delivery::send_and_wait(&shared).await;
    Redirect::to(&format!("/p/session/{id}")).into_response()
}

/// The subscription that the form names, if it belongs to the session's customer.
fn own_subscription(world: &World, session: &str, form: &Params) -> Result<String, Refusal> {
    let session = world.get(Kind::Portal, session, "id")?;
    let id = form.required("subscription")?;
    let subscription = world.get(Kind::Subscription, id, "id")?;
    if subscription["customer"] == session["customer"] {
        Ok(id.to_owned())
    } else {
        Err(Refusal::missing(Kind::Subscription.noun(), id, "id"))
    }
}

fn time(seconds: &Value) -> Option<String> {
    let time = seconds.as_i64().and_then(|seconds| DateTime::from_timestamp(seconds, 0))?;
    Some(time.format("%Y-%m-%d %H:%M UTC").to_string())
}

fn refused(refusal: &Refusal) -> Response {
    message(refusal.status, refusal.message())
}

pub fn message(status: StatusCode, text: &str) -> Response {
    render(status, "message.html", &context! { text => text })
}

pub fn render(status: StatusCode, name: &str, values: &minijinja::Value) -> Response {
    match rendered(name, values) {
        Ok(html) => {
            let headers = [
                (CONTENT_SECURITY_POLICY, POLICY),
                (CACHE_CONTROL, HeaderValue::from_static("no-store")),
                (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            ];
            (status, headers, Html(html)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

fn rendered(name: &str, values: &minijinja::Value) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    environment.get_template(name)?.render(values)
}
