//! Choice of the target, and whole answers. Streams are in `stream.rs`.

use tokio::sync::oneshot;

use super::metering::Meter;
use super::model::{AiStatus, Complexity};
use super::state::State;
use crate::app::App;
use crate::features::quotas::Quota;
use crate::features::quotas::service::{Reservation, reserve};
use crate::platform::actor::CurrentUser;
use crate::platform::error::{Error, Result};
use crate::platform::http::RequestContext;
use crate::providers::ai::{Completed, Config, Prompt, Target};

pub fn status(app: &App) -> AiStatus {
    let gateway = &app.state::<State>().gateway;
    let providers: Vec<_> = gateway.vendors().iter().map(|vendor| vendor.name()).collect();
    let (default_provider, default_model) = gateway.default_names();
    AiStatus { available: !providers.is_empty(), providers, default_provider, default_model }
}

/// The target of a request that may name a model. 503 if no provider is configured.
pub fn choose(app: &App, model: Option<String>) -> Result<Target> {
    let model = model.filter(|model| !model.trim().is_empty());
    app.state::<State>().gateway.choose(model.as_deref()).ok_or(NOT_CONFIGURED)
}

/// The target of a request that names a complexity. 503 if no provider is configured.
pub fn route(app: &App, complexity: Complexity) -> Result<Target> {
    let routes = &app.settings::<Config>().routes;
    let route = match complexity {
        Complexity::Simple => &routes.simple,
        Complexity::Moderate => &routes.moderate,
        Complexity::Complex => &routes.complex,
        Complexity::Search => &routes.search,
    };
    app.state::<State>().gateway.route(route).ok_or(NOT_CONFIGURED)
}

const NOT_CONFIGURED: Error = Error::Unavailable { message: "No AI provider is configured", retry_after: None };

/// Counts a request against the user's quota.
pub(super) async fn count(app: &App, user: &CurrentUser) -> Result<Reservation> {
    let reservation = reserve(app, user, Quota::AiRequests).await?;
    // Lets the connection notice a client that has left: no vendor is then asked in vain.
    tokio::task::yield_now().await;
    Ok(reservation)
}

/// Returns the whole answer to a prompt. The call goes on if the caller is dropped, because the vendor charges for it anyway:
/// so its tokens are known and counted.
pub async fn complete(app: App, user: CurrentUser, target: Target, prompt: Prompt) -> Result<(Completed, Reservation)> {
    let at = app.clock.now();
    let reservation = count(&app, &user).await?;
    let (sender, receiver) = oneshot::channel();
    let call = async move {
        let state = app.state::<State>();
        let meter = Meter::start(&state.meters, &user, at, &target, &prompt);
        let answer = match state.gateway.complete(target, &prompt).await {
            Ok(completed) => {
                meter.completed(&completed);
                Ok((completed, reservation))
            }
            Err(error) => {
                // Whoever hangs up has used the request, whatever becomes of it.
                let waits = !sender.is_closed();
                meter.refused(waits);
                if waits {
                    reservation.give_back(&app).await;
                }
                Err(error.into_error())
            }
        };
        // Nobody waits for it if the client has left.
        let _ = sender.send(answer);
    };
    // The task serves the request: it holds the request's place, and its log lines name the request.
    match RequestContext::current() {
        Some(context) => tokio::spawn(context.scope(call)),
        None => tokio::spawn(call),
    };
    receiver.await.map_err(|error| anyhow::Error::new(error).context("call to an AI provider"))?
}
