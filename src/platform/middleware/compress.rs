//! Which answers are compressed: those of some size, on routes that allow it. Never streams of events, and
//! never files, which would lose their `Content-Length`.

use axum::body::HttpBody;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, NotForContentType, Predicate, SizeAbove};

/// Below this many bytes compression costs more than it saves.
const SMALLEST: u64 = 1024;

/// Marks an answer that must go out as it is.
#[derive(Debug, Clone, Copy)]
pub struct Uncompressed;

#[derive(Debug, Clone, Copy)]
pub struct WhereAllowed;

impl Predicate for WhereAllowed {
    fn should_compress<B: HttpBody>(&self, response: &http::Response<B>) -> bool {
        response.extensions().get::<Uncompressed>().is_none()
    }
}

pub fn layer() -> CompressionLayer<And<And<SizeAbove, NotForContentType>, WhereAllowed>> {
    CompressionLayer::new().compress_when(SizeAbove::new(SMALLEST).and(NotForContentType::SSE).and(WhereAllowed))
}
