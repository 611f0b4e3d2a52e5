//! The user record: created at the first request with a verified token, read and changed by its owner, managed by administrators.
//!
//! Table `users`. Routes `/app/users/me` and `/admin/users…`. Nearly every feature depends on this one, so it cannot be removed.
//! Add your own profile fields to `model.rs` and a migration.

pub mod model;
mod presence;
mod routes;
pub mod service;
mod state;
mod store;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::app::App;
use crate::app::feature::{Feature, Setup};
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::Endpoints;
use crate::platform::id::UserId;
use state::State;

pub struct Users;

#[async_trait]
impl Feature<App> for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("users", "The current user"), ("admin", "For administrators")]
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(State::new(setup));
        Ok(())
    }

    fn endpoints(&self) -> Endpoints<App> {
        routes::endpoints()
    }

    async fn refresh_metrics(&self, app: &App) -> Result<()> {
        service::refresh_metrics(app).await
    }

    async fn export(&self, app: &App, user: &UserId) -> Result<Map<String, Value>> {
        service::export(app, user).await
    }

    async fn erase(&self, app: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        service::erase(app, tx, user).await
    }
}
