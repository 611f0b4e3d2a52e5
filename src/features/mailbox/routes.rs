//! `/dev/mailbox`, `/dev/mailbox/{id}` and `/dev/mailbox.json`.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};

use super::model::{Shown, Wanted};
use super::view;
use crate::app::App;
use crate::platform::error::{Error, Result};
use crate::platform::http::{Json, PathParam, Query};
use crate::providers::email::mailbox_store::Kept;

/// Content Security Policy of the pages. The frame that shows a mail inherits it: no scripts, but images load as in mail clients.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src https: http: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

async fn kept(app: &App) -> Vec<Kept> {
    match app.mailer.mailbox() {
        Some(mailbox) => mailbox.list().await,
        None => Vec::new(),
    }
}

pub async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Response> {
    let mails = wanted.of(kept(&app).await);
    Ok(page(view::list(app.mailer.app_name(), wanted.to.as_deref(), &mails)?))
}

pub async fn json(State(app): State<App>, Query(wanted): Query<Wanted>) -> Response {
    ([(CACHE_CONTROL, NO_STORE)], Json(wanted.of(kept(&app).await))).into_response()
}

pub async fn one(State(app): State<App>, PathParam(id): PathParam, Query(shown): Query<Shown>) -> Result<Response> {
    let mail = match app.mailer.mailbox() {
        Some(mailbox) => mailbox.get(&id).await,
        None => None,
    };
    let mail = mail.ok_or_else(|| Error::not_found("mail", id))?;
    Ok(page(view::one(app.mailer.app_name(), &mail, shown.view)?))
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

fn page(html: String) -> Response {
    // Hides the mailbox URL from servers of remote images.
    let referrer = HeaderValue::from_static("no-referrer");
    ([(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, NO_STORE), (REFERRER_POLICY, referrer)], Html(html)).into_response()
}
