//! `/verify-email` and `/reset-password`: the targets of links in mails until a front end serves them (`AUTH_LINK_BASE_URL`).
//! Opening a link changes nothing, because mail filters open links too: the user must press the button.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use minijinja::{Environment, context};

use super::config::Settings;
use super::rules;
use crate::app::App;
use crate::platform::auth::Provider;
use crate::platform::crypto;
use crate::platform::error::Result;

pub const VERIFY_EMAIL: &str = "/verify-email";
pub const RESET_PASSWORD: &str = "/reset-password";

const TEMPLATE: &str = include_str!("link.html");
const SCRIPT: &str = include_str!("link.js");

/// Returns whether this server serves the pages.
pub fn are_served(app: &App) -> bool {
    app.config.auth.provider == Provider::Local && app.settings::<Settings>().link_base.is_none()
}

pub async fn verify_email(State(app): State<App>) -> Result<Response> {
    Ok(page(&app, "Verify your e-mail address", "Verify", "api/v1/public/auth/verify-email", false)?)
}

pub async fn reset_password(State(app): State<App>) -> Result<Response> {
    Ok(page(&app, "Choose a new password", "Change the password", "api/v1/public/auth/reset-password", true)?)
}

/// The page is identical for every user: only its script reads the token in the URL.
fn page(app: &App, title: &str, button: &str, path: &str, asks_password: bool) -> anyhow::Result<Response> {
    let mut environment = Environment::new();
    environment.add_template("link.html", TEMPLATE)?;
    let app_name = app.mailer.app_name();
    let (min, max, script) = (app.settings::<Settings>().password_min, rules::MAX, SCRIPT);
    let html = context! { app_name, title, button, path, asks_password, min, max, script };
    let html = environment.get_template("link.html")?.render(html)?;
    let script = STANDARD.encode(crypto::sha256(SCRIPT.as_bytes()));
    let policy = HeaderValue::from_str(&format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ))?;
    let (no_store, no_referrer) = (HeaderValue::from_static("no-store"), HeaderValue::from_static("no-referrer"));
    let headers = [(CONTENT_SECURITY_POLICY, policy), (CACHE_CONTROL, no_store), (REFERRER_POLICY, no_referrer)];
    Ok((headers, Html(html)).into_response())
}
