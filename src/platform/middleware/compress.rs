//! Response compression: above a minimum size, on routes that allow it, for clients that accept it.

use std::convert::Infallible;
use std::future::ready;

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_http::compression::Compression;
use tower_http::compression::predicate::{And, NotForContentType, Predicate, SizeAbove};

/// Minimum size in bytes. Below it, compression costs more than it saves.
const SMALLEST: u64 = 1024;
/// Size in bytes up to which a response is compressed before it is sent. The encoder is freed at once, whenever the client
/// reads, and the length is known. Larger ones would keep the thread for more than a millisecond.
const AT_ONCE: u64 = 64 * 1024;
/// Memory in bytes of an encoder, measured.
const ENCODER: usize = 336 * 1024;

/// Memory that compression of a response takes until its last byte is sent.
pub fn memory(accept_encoding: Option<&HeaderValue>, response: &Response) -> usize {
    let streamed = accept_encoding.is_some() && response.body().size_hint().lower() > AT_ONCE;
    if streamed { ENCODER } else { 0 }
}

/// Compresses the answer if it is large enough and the client accepts it.
///
/// Wraps the finished response in tower-http's service, so that small responses, which are most, skip the service.
pub async fn compress(accept_encoding: Option<HeaderValue>, response: Response) -> Response {
    let size = response.body().size_hint().exact();
    if size.is_some_and(|size| size < SMALLEST) {
        return response;
    }
    Box::pin(async move {
        let response = compress_large(accept_encoding, response).await;
        if size.is_some_and(|size| size <= AT_ONCE) { collected(response).await } else { response }
    })
    .await
}

/// The response with its whole body in memory.
async fn collected(response: Response) -> Response {
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(head, Body::from(body.to_bytes())),
        // Only a body that is not in memory can fail.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn compress_large(accept_encoding: Option<HeaderValue>, response: Response) -> Response {
    let mut request = Request::new(Body::empty());
    if let Some(accepted) = accept_encoding {
        request.headers_mut().insert(header::ACCEPT_ENCODING, accepted);
    }
    let mut response = Some(response);
    let inner = tower::service_fn(move |_: Request<Body>| ready(Ok::<_, Infallible>(response.take().unwrap_or_default())));
    for_large(Compression::new(inner)).oneshot(request).await.map_or_else(|never| match never {}, |response| response.map(Body::new))
}

fn for_large<S>(service: Compression<S>) -> Compression<S, And<SizeAbove, NotForContentType>> {
    service.compress_when(SizeAbove::new(SMALLEST).and(NotForContentType::SSE))
}
