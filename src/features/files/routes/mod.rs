//! HTTP routes of files: `app` for owners, `public` for bytes that pass through this server.

mod app;
mod public;

use std::time::Duration;

use utoipa_axum::routes;

use crate::app::App;
use crate::platform::http::policy::{Pool, RequestBody};
use crate::platform::http::{Endpoints, Policy};

/// Deadline of a transfer: the lifetime of a link.
const TRANSFER: Duration = Duration::from_secs(3600);
const LARGEST: usize = 100 << 20;

/// Policy of signed links to the local folder; the token is the only credential.
const LINK: Policy = Policy::signed_link(&["token"]).pool(Pool::Transfers).deadline(TRANSFER);

pub fn endpoints() -> Endpoints<App> {
    let user = Policy::user();
    Endpoints::new()
        .add(user, routes!(app::list))
        .add(user, routes!(app::request_upload))
        .add(user, routes!(app::confirm))
        .add(user, routes!(app::get, app::delete))
        .add(user, routes!(app::download_url))
        .add(LINK.body(RequestBody::Stream(LARGEST)), routes!(public::upload))
        .add(LINK, routes!(public::download))
}
