//! Routes of usage: users see their own, administrators everybody's.

mod admin;
mod app;
mod params;

use utoipa_axum::routes;

use crate::app::App;
use crate::platform::http::{Endpoints, Policy};

pub fn endpoints() -> Endpoints<App> {
    let (user, admin) = (Policy::user(), Policy::admin());
    Endpoints::new()
        .add(user, routes!(app::summary))
        .add(user, routes!(app::current_period))
        .add(user, routes!(app::trends))
        .add(user, routes!(app::daily))
        .add(user, routes!(app::breakdown))
        .add(user, routes!(app::metrics))
        .add(admin, routes!(admin::metrics))
        .add(admin, routes!(admin::summary))
        .add(admin, routes!(admin::trends))
        .add(admin, routes!(admin::daily))
        .add(admin, routes!(admin::breakdown))
        .add(admin, routes!(admin::top_users))
}
