//! HTTP routes of accounts: `public` for visitors, `app` for logged-in users.

mod app;
mod device;
mod public;

use axum::routing::get;
use http::Method;
use utoipa_axum::routes;

use super::pages;
use crate::app::App;
use crate::platform::auth::Provider;
use crate::platform::http::policy::Caching;
use crate::platform::http::{Endpoints, Policy};
use crate::platform::rate_limit::{Budget, KeyedBy, Rate, Window};

/// Rate-limit budget of routes that check a secret or send mail.
static AUTH: Budget = Budget {
    name: "auth",
    variable: "RATE_LIMIT_AUTH",
    help: "The same for registration, login and account e-mails, per client address",
    default: Rate { limit: 5, window: Window::MINUTE },
    keyed_by: KeyedBy::Address,
};

fn is_local(app: &App) -> bool {
    app.config.auth.provider == Provider::Local
}

pub fn endpoints() -> Endpoints<App> {
    let (public, user) = (Policy::public().cache(Caching::NoStore), Policy::user());
    let limited = public.budget(&AUTH);
    Endpoints::new()
        .add(public, routes!(public::config))
        .add_when(is_local, limited, routes!(public::register))
        .add_when(is_local, limited, routes!(public::login))
        .add_when(is_local, limited, routes!(public::refresh))
        .add_when(is_local, limited, routes!(public::logout))
        .add_when(is_local, limited, routes!(public::verify_email))
        .add_when(is_local, limited, routes!(public::resend_verification))
        .add_when(is_local, limited, routes!(public::forgot_password))
        .add_when(is_local, limited, routes!(public::reset_password))
        .add_when(is_local, user, routes!(app::change_password))
        .add_when(is_local, user, routes!(app::sessions))
        .add_when(is_local, user, routes!(app::end_session))
        .add_when(is_local, user, routes!(app::logout_all))
        .add(user, routes!(app::ws_ticket))
        .page_when(pages::are_served, Policy::page(), pages::VERIFY_EMAIL, [Method::GET], get(pages::verify_email))
        .page_when(pages::are_served, Policy::page(), pages::RESET_PASSWORD, [Method::GET], get(pages::reset_password))
}
