//! Mailbox for development: shows sent mails in a browser. Pages `/dev/mailbox…`, only with `ENVIRONMENT=local`, and only for the
//! machine itself: a mail may hold a link that resets a password. No tables.

mod model;
mod routes;
mod view;

use axum::routing::get;
use http::Method;

use crate::app::App;
use crate::app::feature::Feature;
use crate::platform::http::{Endpoints, Policy};

pub struct Mailbox;

impl Feature<App> for Mailbox {
    fn name(&self) -> &'static str {
        "mailbox"
    }

    fn endpoints(&self) -> Endpoints<App> {
        let local = |app: &App| app.mailer.mailbox().is_some();
        Endpoints::new()
            .page_when(local, Policy::developer_page(), "/dev/mailbox", [Method::GET], get(routes::list))
            .page_when(local, Policy::developer_page(), "/dev/mailbox.json", [Method::GET], get(routes::json))
            .page_when(local, Policy::developer_page(), "/dev/mailbox/{id}", [Method::GET], get(routes::one))
    }
}
