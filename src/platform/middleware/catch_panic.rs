//! A panic in a handler becomes an answer; the process and the other requests live on.

use std::any::Any;

use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use crate::platform::error::Error;

pub type Layer = CatchPanicLayer<fn(Box<dyn Any + Send>) -> Response>;

pub fn layer() -> Layer {
    CatchPanicLayer::custom(answer as fn(Box<dyn Any + Send>) -> Response)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn answer(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Error::Internal(anyhow::anyhow!("panic: {text}")).into_response()
}
