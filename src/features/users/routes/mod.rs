//! HTTP routes of users: `me` for the user's own profile, `admin` for administrators.

mod admin;
mod me;
mod me_v2;

use utoipa_axum::routes;

use crate::app::App;
use crate::platform::http::{Endpoints, Policy};

pub fn endpoints() -> Endpoints<App> {
    let (user, admin) = (Policy::user(), Policy::admin());
    Endpoints::new()
        .add(user, routes!(me::me, me::update_me))
        .add(user.v2(), routes!(me_v2::me, me_v2::update_me))
        .add(admin, routes!(admin::list))
        .add(admin, routes!(admin::get, admin::update))
        .add(admin, routes!(admin::deactivate))
        .add(admin, routes!(admin::activate))
}
