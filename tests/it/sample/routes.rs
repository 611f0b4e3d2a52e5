//! Handlers of the sample feature.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::sse::Event;
use axum::response::{Html, IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode};
use omnistack::app::App;
use omnistack::app::jobs::New;
use omnistack::platform::actor::CurrentUser;
use omnistack::platform::crypto::hmac_sha256;
use omnistack::platform::error::{Error, Result};
use omnistack::platform::http::{Json, Query, RawBody, RequestContext, sse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::harness::tokens::base64url;

use super::feature::{self, CountSample, SECRET};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Following {
    /// Whether the stream goes on until its reader leaves.
    follow: Option<bool>,
}

/// Stream events
#[utoipa::path(get, path = "/sample/stream", operation_id = "streamSample", tag = "sample", params(Following),
    responses((status = 200, body = String, content_type = "text/event-stream", example = "data: 1")))]
pub async fn stream(user: CurrentUser, Query(following): Query<Following>) -> Response {
    let first = stream::iter([Event::default().event("hello").data(user.id.as_str())]);
    if following.follow == Some(true) { sse::events(first.chain(stream::pending())) } else { sse::events(first) }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Size {
    /// Bytes of the response, in mebibytes.
    mebibytes: u8,
}

/// Get many bytes
#[utoipa::path(get, path = "/sample/large", operation_id = "getLargeSample", tag = "sample", params(Size),
    responses((status = 200, body = String, content_type = "application/octet-stream", example = "zeros")))]
pub async fn large(Query(Size { mebibytes }): Query<Size>) -> Vec<u8> {
    vec![0; usize::from(mebibytes) << 20]
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Opening {
    /// An access token.
    token: Option<String>,
}

/// Open a socket
#[utoipa::path(get, path = "/sample/socket", operation_id = "openSampleSocket", tag = "sample", params(Opening),
    responses((status = 101, description = "A socket"), (status = 400)))]
pub async fn socket(
    State(app): State<App>,
    Extension(context): Extension<Arc<RequestContext>>,
    Query(opening): Query<Opening>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let verified = match opening.token {
        Some(token) => app.verifier.verify(&token).await.is_ok(),
        None => false,
    };
    upgrade.on_upgrade(move |socket| serve(socket, context, verified))
}

/// Sends back what it gets. The context keeps the socket's place until the end.
async fn serve(mut socket: WebSocket, _context: Arc<RequestContext>, verified: bool) {
    if !verified {
        let frame = CloseFrame { code: 1008, reason: "unauthenticated".into() };
        // The peer may have left.
        let _ = socket.send(Message::Close(Some(frame))).await;
        return;
    }
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        if socket.send(Message::Text(text)).await.is_err() {
            return;
        }
    }
}

/// Receive a webhook
#[utoipa::path(post, path = "/sample/webhook", operation_id = "receiveSampleWebhook", tag = "sample",
    request_body(content = String, content_type = "application/octet-stream", example = json!("bytes")), responses((status = 204), (status = 401)))]
pub async fn webhook(State(app): State<App>, headers: HeaderMap, RawBody(bytes): RawBody) -> Result<StatusCode> {
    let signature = signature(&bytes);
    if headers.get("x-sample-signature").is_none_or(|given| given != signature.as_str()) {
        return Err(Error::Unauthenticated("The signature is wrong"));
    }
    app.jobs.enqueue(&app.db, &CountSample {}, New::default()).await?;
    app.state::<feature::State>().events.with_label_values(&["webhook"]).inc();
    Ok(StatusCode::NO_CONTENT)
}

/// The signature of a body.
pub fn signature(bytes: &[u8]) -> String {
    base64url(hmac_sha256(SECRET, bytes))
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"version": 2}))]
pub struct SampleVersion {
    version: u32,
}

/// Get the version
#[utoipa::path(get, path = "/sample", operation_id = "getSampleVersion", tag = "sample", responses((status = 200, body = SampleVersion)))]
pub async fn version() -> Json<SampleVersion> {
    Json(SampleVersion { version: 2 })
}

pub async fn console(method: Method, user: CurrentUser) -> Response {
    Html(format!("{method} by {}", user.id.as_str())).into_response()
}
