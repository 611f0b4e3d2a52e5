//! Answers as streams of server-sent events. The vendor is read only as fast as the client reads; a client that leaves ends
//! the call to the vendor.

use std::sync::Arc;

use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::time::timeout;

use super::events::{KEEP_ALIVE, Writer};
use super::metering::Meter;
use super::service::count;
use super::state::State;
use crate::app::App;
use crate::platform::actor::CurrentUser;
use crate::platform::error::{Error, Result};
use crate::platform::http::{RequestContext, sse};
use crate::platform::middleware::errors::render_late;
use crate::providers::ai::{AiError, Opened, Pieces, Prompt, Target};

/// Pieces that have arrived together are sent together, up to about this many bytes.
const FRAME: usize = 16 * 1024;

/// Answers a prompt with a stream. Failures before the first piece are errors as of any other request.
pub async fn open(app: App, user: CurrentUser, target: Target, prompt: Prompt) -> Result<Response> {
    let at = app.clock.now();
    let reservation = count(&app, &user).await?;
    let state = app.state::<State>();
    let mut meter = Meter::start(&state.meters, &user, at, &target, &prompt);
    let pieces = match state.gateway.stream(target, &prompt).await {
        Ok(Opened { target, pieces }) => {
            meter.answered_by(&target);
            pieces
        }
        Err(error) => {
            meter.refused(true);
            reservation.give_back(&app).await;
            return Err(error.into_error());
        }
    };
    let context = RequestContext::current().ok_or_else(|| anyhow::anyhow!("a stream outside of a request"))?;
    let answer = Answer { pieces, meter: Some(meter), writer: Writer::default(), context };
    let mut response = sse::frames(stream::unfold(answer, |answer| answer.context.clone().scope(answer.next_frame())));
    reservation.set_headers(response.headers_mut());
    Ok(response)
}

/// An answer that is being sent.
struct Answer {
    pieces: Box<dyn Pieces>,
    /// `None` once the answer has ended.
    meter: Option<Meter>,
    writer: Writer,
    context: Arc<RequestContext>,
}

impl Answer {
    /// Returns the bytes to send next; `None` at the end. Polled only when the connection takes more bytes.
    async fn next_frame(mut self) -> Option<(Bytes, Self)> {
        self.meter.as_ref()?;
        let mut frame = BytesMut::new();
        while frame.is_empty() && self.meter.is_some() {
            match timeout(sse::HEARTBEAT, self.pieces.next()).await {
                Ok(next) => self.write(&mut frame, next),
                Err(_) => frame.extend_from_slice(KEEP_ALIVE.as_bytes()),
            }
        }
        while self.meter.is_some() && frame.len() < FRAME {
            match self.pieces.ready() {
                Ok(None) => break,
                ready => self.write(&mut frame, ready),
            }
        }
        Some((frame.freeze(), self))
    }

    /// Writes a piece, the end, or the failure that ends the answer.
    fn write(&mut self, frame: &mut BytesMut, next: std::result::Result<Option<String>, AiError>) {
        let figures = self.pieces.figures();
        match next {
            Ok(Some(piece)) => {
                if let Some(meter) = &mut self.meter {
                    meter.received(&piece, figures);
                }
                self.writer.piece(frame, &piece);
            }
            Ok(None) => {
                Writer::done(frame);
                if let Some(meter) = self.meter.take() {
                    meter.finished(figures);
                }
            }
            Err(error) => {
                let error: Error = error.into_error();
                Writer::error(frame, &render_late(&error, &self.context.request_id));
                if let Some(meter) = self.meter.take() {
                    meter.broken_off(figures);
                }
            }
        }
    }
}
