//! `/app/events…`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, header};
use utoipa_axum::routes;

use super::model::{EventStreamTicket, StreamEvent, StreamParams};
use super::service::tickets;
use super::stream;
use crate::app::App;
use crate::features::users;
use crate::platform::actor::CurrentUser;
use crate::platform::auth::{Claims, Refusal};
use crate::platform::error::Result;
use crate::platform::http::{Endpoints, Json, Policy, Query, RequestContext};

/// A stream sends at least a comment every 15 s.
const IDLE: Duration = Duration::from_secs(60);

const LAST_EVENT_ID: &str = "last-event-id";

pub fn endpoints() -> Endpoints<App> {
    Endpoints::new().add(Policy::event_stream(IDLE), routes!(open)).add(Policy::user(), routes!(create_ticket))
}

/// Stream your events
///
/// Updates of your resources and notifications, as server-sent events, for networks in which sockets fail. The caller is told by a
/// bearer token or a stream ticket. A stream begins with `ready` or, if the id that it should go on from is unknown or older than an hour,
/// with `resync`: then load again what you show. It ends when the token expires, the session ends or the server stops.
#[utoipa::path(get, path = "/events", operation_id = "streamEvents", tag = "events",
    params(StreamParams, ("Last-Event-ID" = Option<String>, Header, description = "The last id that the client has seen. `EventSource` sends it by itself.")),
    responses((status = 200, content((StreamEvent = "text/event-stream", example = "event: update\nid: 12-1764330000\ndata: {\"resource\":\"project\",\"action\":\"deleted\",\"resource_id\":\"0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d\"}\n\n"))),
        (status = 401), (status = 403), (status = 409), (status = 429, description = "Also beyond 3 open streams")))]
pub async fn open(State(app): State<App>, headers: HeaderMap, Query(params): Query<StreamParams>) -> Result<Response> {
    let context = RequestContext::current().ok_or_else(|| anyhow::anyhow!("a stream outside of a request"))?;
    let ticket = params.ticket.as_deref().filter(|_| !headers.contains_key(header::AUTHORIZATION));
    let claims = identify(&app, &headers, ticket).await.inspect_err(|refusal| {
        app.metrics.auth_failures.with_label_values(&[refusal.reason()]).inc();
    })?;
    context.set_user_id(&claims.subject);
    if ticket.is_some() {
        users::service::readmit(&app, claims.clone(), &context).await?;
    } else {
        users::service::admit(&app, claims.clone(), &context).await?;
    }
    let header = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or("unreadable"));
    let seen = header.or(params.last_event_id.as_deref()).filter(|id| !id.is_empty());
    stream::open(app, claims, context, seen).await
}

/// Verifies the ticket, or without one the token in the header.
async fn identify(app: &App, headers: &HeaderMap, ticket: Option<&str>) -> Result<Arc<Claims>, Refusal> {
    match ticket {
        Some(ticket) => tickets::open(app, ticket),
        None => app.verifier.identify(app.verifier.present_header(headers.get(header::AUTHORIZATION))).await,
    }
}

/// Create a stream ticket
///
/// For `GET /app/events?ticket=…`, because a browser's `EventSource` cannot send a token. It can be used again, as `EventSource` does when it
/// reconnects, until its session ends; with another provider than `local` until the token expires that it was made from; at most a day.
#[utoipa::path(post, path = "/events/ticket", operation_id = "createEventStreamTicket", tag = "events", responses((status = 200, body = EventStreamTicket)))]
pub async fn create_ticket(State(app): State<App>, user: CurrentUser) -> Result<Json<EventStreamTicket>> {
    Ok(Json(tickets::issue(&app, &user)?))
}
