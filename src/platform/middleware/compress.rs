//! Response compression: above a minimum size, on routes that allow it, for clients that accept it.

use std::convert::Infallible;
use std::future::ready;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use http::{HeaderValue, Request, header};
use tower::ServiceExt;
use tower_http::compression::Compression;
use tower_http::compression::predicate::{And, NotForContentType, Predicate, SizeAbove};

/// Minimum size in bytes. Below it, compression costs more than it saves.
const SMALLEST: u64 = 1024;

/// Compresses the answer if it is large enough and the client accepts it.
///
/// Wraps the finished response in tower-http's service, so that small responses, which are most, skip the service.
pub async fn compress(accept_encoding: Option<HeaderValue>, response: Response) -> Response {
    if response.body().size_hint().exact().is_some_and(|size| size < SMALLEST) {
        return response;
    }
    Box::pin(compress_large(accept_encoding, response)).await
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
