//! Projects: the example resource. Rows owned by a user, with search, pagination and soft delete.
//!
//! Table `projects`. Routes `/app/projects…`. To write your own resource, copy this folder. `make without c=projects` lists what
//! to remove with it.

pub mod model;
mod routes;
pub mod service;
mod store;

use async_trait::async_trait;
use serde_json::{Map, Value};
use utoipa_axum::routes;

use crate::app::App;
use crate::app::feature::{Feature, Removed, When};
use crate::platform::actor::CurrentUser;
use crate::platform::db::{Db, Tx};
use crate::platform::error::Result;
use crate::platform::http::{Endpoints, Policy};
use crate::platform::id::UserId;

pub struct Projects;

#[async_trait]
impl Feature<App> for Projects {
    fn name(&self) -> &'static str {
        "projects"
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("projects", "Own projects")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new()
            .add(Policy::user(), routes!(routes::list, routes::create))
            .add(Policy::user(), routes!(routes::get, routes::update, routes::delete))
    }

    fn resources(&self) -> &'static [&'static str] {
        &[service::PROJECT]
    }

    async fn owns(&self, app: &App, user: &UserId, _: &str, id: &str) -> Result<bool> {
        service::owns(app, user, id).await
    }

    async fn export(&self, app: &App, user: &UserId) -> Result<Map<String, Value>> {
        service::export(app, user).await
    }

    async fn erase(&self, _: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        Ok(store::erase(tx, user).await?)
    }

    async fn seed(&self, app: &App, user: &CurrentUser) -> Result<Option<String>> {
        service::seed(app, user).await
    }

    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        match when {
            When::Old => service::purge_deleted(app).await,
            When::Expired => Ok(Removed::default()),
        }
    }

    async fn after_migrations(&self, db: &Db) -> anyhow::Result<()> {
        service::fold_names(db).await
    }
}
