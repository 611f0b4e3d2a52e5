//! `/verify-email` and `/reset-password`: where the links of mails lead as long as no front end takes them
//! (`AUTH_LINK_BASE_URL`). A link that is merely opened, by a mail filter for one, does nothing: a person has to press.

use axum::response::Html;
use axum::routing::{MethodRouter, get};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use minijinja::{Environment, context};

use super::rules;
use crate::app::App;
use crate::app::feature::Pages;
use crate::platform::auth::Provider;
use crate::platform::crypto;

const TEMPLATE: &str = include_str!("link.html");
const SCRIPT: &str = include_str!("link.js");

pub fn pages(app: &App) -> Pages {
    if app.config.auth.provider != Provider::Local || app.config.accounts.link_base.is_some() {
        return Vec::new();
    }
    let verify = page(app, "Verify your e-mail address", "Verify", "api/v1/public/auth/verify-email", false);
    let reset = page(app, "Choose a new password", "Change the password", "api/v1/public/auth/reset-password", true);
    [("/verify-email", verify), ("/reset-password", reset)].into_iter().filter_map(|(path, page)| Some((path, page.ok()?))).collect()
}

/// The page, the same for everybody: the secret in its address is read by the script alone.
fn page(app: &App, title: &str, button: &str, path: &str, asks_password: bool) -> anyhow::Result<MethodRouter> {
    let mut environment = Environment::new();
    environment.add_template("link.html", TEMPLATE)?;
    let app_name = app.mailer.app_name();
    let (min, max, script) = (rules::MIN, rules::MAX, SCRIPT);
    let html = context! { app_name, title, button, path, asks_password, min, max, script };
    let html = Bytes::from(environment.get_template("link.html")?.render(html)?);
    let script = STANDARD.encode(crypto::sha256(SCRIPT.as_bytes()));
    let policy = HeaderValue::from_str(&format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ))?;
    let (no_store, no_referrer) = (HeaderValue::from_static("no-store"), HeaderValue::from_static("no-referrer"));
    let headers = [(CONTENT_SECURITY_POLICY, policy), (CACHE_CONTROL, no_store), (REFERRER_POLICY, no_referrer)];
    Ok(get(async move || (headers.clone(), Html(html.clone()))))
}
