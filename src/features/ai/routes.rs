//! `/app/ai…`.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use utoipa_axum::routes;

use super::model::{AiStatus, ChatRequest, CompletionEvent, CompletionRead, CompletionRequest, RoutedChatRequest};
use super::{service, stream};
use crate::app::App;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::policy::Caching;
use crate::platform::http::{Endpoints, Json, Policy};
use crate::platform::rate_limit::{Budget, KeyedBy, Rate, Window};
use crate::providers::ai::{Prompt, Target};

static BUDGET: Budget = Budget {
    name: "ai",
    variable: "RATE_LIMIT_AI",
    help: "AI requests per user, `<n>/<second|minute|hour|day>`",
    default: Rate { limit: 10, window: Window::MINUTE },
    keyed_by: KeyedBy::Caller,
};

/// Longer than every time limit that can be configured for the time until the head of an answer.
const HEAD: Duration = Duration::from_secs(3700);
/// A stream sends a comment at least every 15 s.
const IDLE: Duration = Duration::from_secs(60);

pub fn endpoints() -> Endpoints<App> {
    let ask = Policy::user().budget(&BUDGET).slow_stream(HEAD, IDLE).cache(Caching::NoStore);
    Endpoints::new()
        .add(Policy::user().budget(&BUDGET), routes!(status))
        .add(ask, routes!(complete))
        .add(ask, routes!(chat))
        .add(ask, routes!(chat_routed))
}

/// Get the AI providers
#[utoipa::path(get, path = "/ai/status", operation_id = "getAiStatus", tag = "ai", responses((status = 200, body = AiStatus)))]
pub async fn status(State(app): State<App>, _: CurrentUser) -> Json<AiStatus> {
    Json(service::status(&app))
}

/// Complete a conversation
///
/// With `stream`, the answer is sent as server-sent events: each piece of text is the data of one event, and `[DONE]` that of the
/// last one. A failure after the first piece is an event `error` whose data is the error envelope. Without `[DONE]`, the answer
/// is incomplete.
#[utoipa::path(post, path = "/ai/completions", operation_id = "createCompletion", tag = "ai", request_body = CompletionRequest,
    responses((status = 200, content((CompletionRead = "application/json"), (CompletionEvent = "text/event-stream", example = "data: Hello\n\ndata: [DONE]\n\n"))),
        (status = 403, description = "PLAN_LIMIT_EXCEEDED"), (status = 502)))]
pub async fn complete(State(app): State<App>, user: CurrentUser, Json(mut request): Json<CompletionRequest>) -> Result<Response> {
    let target = service::choose(&app, request.model.take())?;
    let stream = request.stream;
    answer(app, user, target, request.into(), stream).await
}

/// Ask a question
///
/// As a completion of one message. Streams as completions do.
#[utoipa::path(post, path = "/ai/chat", operation_id = "createChat", tag = "ai", request_body = ChatRequest,
    responses((status = 200, content((CompletionRead = "application/json"), (CompletionEvent = "text/event-stream", example = "data: Hello\n\ndata: [DONE]\n\n"))),
        (status = 403, description = "PLAN_LIMIT_EXCEEDED"), (status = 502)))]
pub async fn chat(State(app): State<App>, user: CurrentUser, Json(mut request): Json<ChatRequest>) -> Result<Response> {
    let target = service::choose(&app, request.model.take())?;
    let stream = request.stream;
    answer(app, user, target, request.into(), stream).await
}

/// Ask a question by complexity
///
/// `complexity` chooses provider and model from the routing table of the configuration.
#[utoipa::path(post, path = "/ai/chat/routed", operation_id = "createRoutedChat", tag = "ai", request_body = RoutedChatRequest,
    responses((status = 200, body = CompletionRead), (status = 403, description = "PLAN_LIMIT_EXCEEDED"), (status = 502)))]
pub async fn chat_routed(State(app): State<App>, user: CurrentUser, Json(request): Json<RoutedChatRequest>) -> Result<Response> {
    let target = service::route(&app, request.complexity)?;
    answer(app, user, target, request.into(), false).await
}

async fn answer(app: App, user: CurrentUser, target: Target, prompt: Prompt, stream: bool) -> Result<Response> {
    if stream {
        return stream::open(app, user, target, prompt).await;
    }
    let (completed, reservation) = service::complete(app, user, target, prompt).await?;
    let mut response = Json(CompletionRead::from(completed)).into_response();
    reservation.set_headers(response.headers_mut());
    Ok(response)
}
