//! WebSockets: users talk on channels, and hear of changes and notices. Delivery is to every instance that shares Redis.
//!
//! Routes `/app/ws`, `/app/ws/status`. The one-use ticket of `/app/ws/ticket` belongs to `features::accounts`. A connection is a
//! task ([`connection`]) with a bounded queue ([`outbox`]); [`hub`] knows the connections of this instance, [`bridge`] the other
//! instances, [`presence`] who is online.

mod bridge;
mod channel;
mod config;
mod connection;
mod frames;
mod hub;
mod metrics;
mod model;
mod outbox;
mod presence;
mod request;
mod routes;
pub mod service;
mod state;

use std::time::Duration;

use async_trait::async_trait;
use http::Extensions;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use utoipa_axum::routes;

use crate::app::App;
use crate::app::feature::{Feature, Setup};
use crate::app::news::{Change, Notice};
use crate::platform::config::{Env, Section};
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::http::{Endpoints, Policy};
use crate::platform::id::UserId;
use config::Settings;
use state::State;

/// How long the end of the process waits for the last changes of who is online.
const LAST_CHANGES: Duration = Duration::from_secs(5);

pub struct Realtime;

#[async_trait]
impl Feature<App> for Realtime {
    fn name(&self) -> &'static str {
        "realtime"
    }

    fn config(&self, env: &mut Env, sections: &mut Extensions) {
        sections.insert(Settings::read(env));
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(State::new(setup));
        Ok(())
    }

    fn tags(&self) -> &'static [(&'static str, &'static str)] {
        &[("realtime", "WebSockets")]
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new().add(Policy::socket(), routes!(routes::open)).add(Policy::user(), routes!(routes::status))
    }

    async fn run(&self, app: &App, stop: CancellationToken) {
        stop.cancelled().await;
        let Some(running) = app.state::<State>().started() else { return };
        let left = async {
            running.presence.settled().await;
            running.presence.leave().await;
        };
        if timeout(LAST_CHANGES, left).await.is_err() {
            tracing::warn!("who went offline at the stop could not be told in time");
        }
    }

    async fn changed(&self, app: &App, tx: &mut Tx, change: &Change) -> Result<()> {
        let (app, change) = (app.clone(), change.clone());
        tx.after_commit(move || service::send_change(&app, &change));
        Ok(())
    }

    async fn notify(&self, app: &App, tx: &mut Tx, notice: &Notice) -> Result<()> {
        let (app, notice) = (app.clone(), notice.clone());
        tx.after_commit(move || service::send_notice(&app, &notice));
        Ok(())
    }

    async fn erase(&self, app: &App, tx: &mut Tx, user: &UserId) -> Result<u64> {
        let (app, user) = (app.clone(), user.clone());
        tx.after_commit(move || service::end(&app, &user));
        Ok(0)
    }

    async fn deactivate(&self, app: &App, tx: &mut Tx, user: &UserId) -> Result<()> {
        let (app, user) = (app.clone(), user.clone());
        tx.after_commit(move || service::check(&app, &user));
        Ok(())
    }
}
