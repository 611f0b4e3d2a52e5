//! Event streams: a user's own updates and notices as server-sent events, for networks in which sockets fail. Resumable for an hour.
//!
//! Tables `user_events`, `event_positions`. Routes `/app/events…`. The hooks `changed` and `notify` store an event in the
//! transaction of the change; streams number and send what is committed.

mod frames;
mod model;
mod position;
mod routes;
pub mod service;
mod state;
mod store;
mod stream;

use async_trait::async_trait;

use crate::app::App;
use crate::app::feature::{Feature, Removed, Setup, When};
use crate::app::news::{Change, Notice};
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::Endpoints;
use crate::platform::id::UserId;
use state::State;

pub struct Events;

#[async_trait]
impl Feature<App> for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(State::new(setup));
        Ok(())
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("events", "Own updates and notifications as a stream")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        routes::endpoints()
    }

    async fn changed(&self, app: &App, tx: &mut Tx, change: &Change) -> Result<()> {
        service::changed(app, tx, change).await
    }

    async fn notify(&self, app: &App, tx: &mut Tx, notice: &Notice) -> Result<()> {
        service::notify(app, tx, notice).await
    }

    async fn erase(&self, _: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        service::erase(tx, user).await
    }

    async fn cleanup(&self, app: &App, when: When) -> Result<Removed> {
        match when {
            When::Expired => service::sweep(app).await,
            When::Old => Ok(Removed::default()),
        }
    }
}
