//! Files: a user's uploads. The database stores the row; the bytes are in object storage (`providers::storage`), which clients
//! access with presigned requests.
//!
//! Table `files`. Routes `/app/files…`, and `/public/storage…` for the local folder. Function `remove_objects`.

mod content;
pub mod model;
mod names;
mod routes;
pub mod service;
mod store;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::app::App;
use crate::app::feature::{Feature, Removed, When};
use crate::app::jobs::Registry;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::Endpoints;
use crate::platform::id::UserId;

pub struct Files;

#[async_trait]
impl Feature<App> for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("files", "Own files")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        routes::endpoints()
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<service::removal::RemoveObjects>();
    }

    async fn export(&self, app: &App, user: &UserId) -> Result<Map<String, Value>> {
        service::export(app, user).await
    }

    async fn stored_bytes(&self, app: &App, user: &UserId) -> Result<i64> {
        service::stored_bytes(app, user).await
    }

    async fn erase(&self, app: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        service::erase(app, tx, user).await
    }

    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        match when {
            When::Expired => service::removal::purge_pending(app).await,
            When::Old => Ok(Removed::default()),
        }
    }
}
