//! Data rights: export of a user's data (GDPR article 20) and erasure (article 17). Each feature provides its data in its
//! `export` and `erase` hooks.
//!
//! Table `data_exports`; the documents are in object storage under `exports/`. Routes `/app/users/me/export…`, functions
//! `export_user_data` and `remove_exports`, command `omnistack users erase`.

mod jobs;
mod routes;
pub mod service;
mod state;
mod store;

use std::time::Duration;

use async_trait::async_trait;
use utoipa_axum::routes;

use crate::app::App;
use crate::app::feature::{Feature, Removed, Setup, When};
use crate::app::jobs::Registry;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::policy::Pool;
use crate::platform::http::{Endpoints, Policy};
use crate::platform::id::UserId;

/// Deadline of a download: a document has up to 32 MiB.
const DOWNLOAD: Duration = Duration::from_secs(300);

pub struct Privacy;

#[async_trait]
impl Feature<App> for Privacy {
    fn name(&self) -> &'static str {
        "privacy"
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(state::State::new());
        Ok(())
    }

    fn endpoints(&self) -> Endpoints<App> {
        let download = Policy::user().pool(Pool::Transfers).deadline(DOWNLOAD);
        Endpoints::new().add(Policy::user(), routes!(routes::request)).add(download, routes!(routes::get))
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<jobs::ExportUserData>();
        registry.add::<service::removal::RemoveExports>();
    }

    async fn erase(&self, app: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        service::removal::erase(app, tx, user).await
    }

    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        match when {
            When::Expired => service::document::remove_expired(app).await,
            When::Old => Ok(Removed::default()),
        }
    }
}
