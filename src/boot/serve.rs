//! Start and stop of the server.
//!
//! Start: database, migrations, Redis, worker, listener; ready only then. Stop, on SIGTERM or SIGINT: not ready, but
//! serving for `SHUTDOWN_DELAY_SECONDS`; then the listener's queue is emptied and closed, running requests, open sockets and running
//! jobs get `SHUTDOWN_GRACE_SECONDS`, the background work of features ends, the pools close. A second signal ends at once.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::background::Background;
use super::signals::Signals;
use super::worker::Working;
use super::{banner, diagnosis, listener, router, startup};
use crate::app::App;
use crate::app::feature::Finding;
use crate::features::accounts::service::operator;
use crate::features::users;
use crate::features::users::model::User;
use crate::platform::auth::{Provider, Role};
use crate::platform::config::Environment;
use crate::platform::error::Error;
use crate::platform::output;
use crate::platform::redis::{self, Redis};

/// E-mail address of the administrator created at the first local start.
const LOCAL_ADMIN: &str = "admin@localhost";

/// Runs the server until it receives a stop signal.
pub async fn serve(app: App) -> anyhow::Result<()> {
    startup::prepare(&app).await?;
    let core = &app.config.core;
    let address = SocketAddr::new(core.host, core.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: set HOST and PORT, or stop what listens there"))?;
    let router = router::build(&app).router;
    if Redis::health(app.redis.as_ref()).await == redis::Health::Unhealthy {
        tracing::warn!("REDIS_URL is set, but Redis does not answer: working in memory until it does");
    }
    let address = listener.local_addr()?;
    let warnings = diagnosis::warnings(&app).await;
    if !create_first_admin(&app, address, &warnings).await?
        && let Err(error) = banner::print(&app, address, None, &warnings)
    {
        // Nothing is lost with it, so the server starts all the same.
        output::error(format_args!("warning: the banner is not shown: {error:#}"));
    }
    let background = Background::start(&app);
    app.phase.set_ready();
    tracing::info!(address = %address, version = env!("CARGO_PKG_VERSION"), "ready");
    let clean = run(&app, listener, router).await;
    background.end().await;
    let clean = clean?;
    app.close().await;
    if clean {
        tracing::info!("stopped");
    } else {
        tracing::warn!("stopped with connections still open after SHUTDOWN_GRACE_SECONDS");
    }
    Ok(())
}

/// Creates an administrator at the first start of a local installation with its own accounts, and prints the banner with their
/// password; returns whether it did. Of several concurrent first starts only one does. If the banner cannot be printed, no
/// administrator is made and the start fails.
async fn create_first_admin(app: &App, address: SocketAddr, warnings: &[Finding]) -> anyhow::Result<bool> {
    let first = app.config.core.environment == Environment::Local
        && app.config.auth.provider == Provider::Local
        && users::service::is_empty(app).await?;
    if !first {
        return Ok(false);
    }
    let password = operator::random_password()?;
    let mut show = |_: &User| banner::print(app, address, Some((LOCAL_ADMIN, &password)), warnings);
    match operator::create(app, LOCAL_ADMIN, Role::Admin, &password, false, &mut show).await {
        Ok(made) => Ok(made.is_some()),
        Err(Error::Internal(cause)) => Err(cause.context("the first administrator is not made")),
        Err(error) => Err(error.into()),
    }
}

/// Serves until the signal and through the shutdown; returns whether every connection ended in time.
async fn run(app: &App, listener: TcpListener, router: axum::Router) -> anyhow::Result<bool> {
    let mut signals = Signals::listen()?;
    let stop = listener::Stop::default();
    let core = &app.config.core;
    let working = app.config.jobs.enabled.then(|| Working::start(app));
    let limits = listener::Limits::new(&core.trusted_proxies);
    let serving = tokio::spawn(listener::run(listener, router, stop.clone(), core.shutdown_grace, limits));
    signals.received().await;
    tracing::info!(
        delay_s = core.shutdown_delay.as_secs(),
        grace_s = core.shutdown_grace.as_secs(),
        "stopping; a second signal ends at once"
    );
    app.phase.set_stopping();
    signals.end_at_once_on_next();
    stop.closing.cancel();
    tokio::time::sleep(core.shutdown_delay).await;
    stop.drain.cancel();
    app.phase.drain();
    let sockets = timeout(core.shutdown_grace, app.phase.sockets_closed());
    let worked = async {
        let Some(working) = working else { return Ok(()) };
        working.stop().cancel();
        working.ended().await
    };
    // At the same time, so that one grace period covers all.
    let (served, closed, worked) = tokio::join!(serving, sockets, worked);
    worked?;
    Ok(served? && closed.is_ok())
}
