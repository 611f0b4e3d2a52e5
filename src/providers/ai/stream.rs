//! The pieces of a vendor's event stream: decoded as they are asked for, under the clocks of the contract.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

use super::error::AiError;
use super::model::Figures;
use super::protocol::{Protocol, Reading, Signal, classify};
use super::provider::{Clocks, Pieces};
use crate::platform::outgoing::event_stream::{Decoder, StreamFault};
use crate::platform::outgoing::{Attempt, Streaming};

/// After the vendor's own end only figures can follow; an answer is not held back longer for them.
const AFTERMATH: Duration = Duration::from_secs(2);

/// The pieces of one answer.
pub struct HttpPieces<P> {
    protocol: Arc<P>,
    /// `None` once the stream has ended or failed; dropping it closes the connection.
    body: Option<Streaming>,
    decoder: Decoder,
    reading: Reading,
    clocks: Clocks,
    /// The first piece, which is read before the answer begins.
    first: Option<String>,
    begun: bool,
    /// Bytes have arrived after the head.
    heard: bool,
    /// Since when the next piece is waited for, or the model last showed that it works.
    waiting_since: Option<Instant>,
    /// Told the outcome of the whole stream.
    attempt: Option<Attempt>,
}

impl<P: Protocol> HttpPieces<P> {
    /// Reads until the first piece, or until the end of an answer without text.
    pub async fn begin(protocol: Arc<P>, body: Streaming, clocks: Clocks) -> Result<Self, AiError> {
        let mut pieces = Self {
            protocol,
            body: Some(body),
            decoder: Decoder::default(),
            reading: Reading::default(),
            clocks,
            first: None,
            begun: false,
            heard: false,
            waiting_since: None,
            attempt: None,
        };
        pieces.first = pieces.read().await?;
        pieces.begun = true;
        Ok(pieces)
    }

    /// Reports the outcome of the stream to a circuit breaker.
    pub fn judged_by(mut self, attempt: Attempt) -> Self {
        self.attempt = Some(attempt);
        if self.body.is_none() {
            self.succeed();
        }
        self
    }

    fn succeed(&mut self) {
        self.body = None;
        if let Some(attempt) = self.attempt.take() {
            attempt.note(true);
        }
    }

    fn fail(&mut self, error: AiError) -> AiError {
        self.body = None;
        if let Some(attempt) = self.attempt.take()
            && error.blames_vendor
        {
            attempt.note(false);
        }
        error
    }

    /// Returns the next piece among the bytes that have arrived. `progress` is set by events that show that the model works.
    fn decode(&mut self, progress: &mut bool) -> Result<Option<String>, AiError> {
        while !self.reading.closed {
            let event = match self.decoder.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(None),
                Err(StreamFault::TooLarge | StreamFault::NotUtf8) => return Err(AiError::malformed(P::NAME)),
            };
            match self.protocol.read_event(&event, &mut self.reading) {
                Ok(Signal::Idle) => {}
                Ok(Signal::Progress) => *progress = true,
                Ok(Signal::Text(text)) => return Ok(Some(text)),
                // What follows the answer's end cannot undo it.
                Err(_) if self.reading.ended => self.reading.closed = true,
                Err(fault) => return Err(classify(P::NAME, &fault)),
            }
        }
        Ok(None)
    }

    /// When the wait for the next piece that began at `since` ends.
    fn patience(&self, since: Instant) -> Instant {
        let piece = match (self.reading.ended, self.begun) {
            (true, _) => since + AFTERMATH,
            (false, true) => since + self.clocks.silence,
            (false, false) => self.clocks.first_piece,
        };
        piece.min(self.clocks.end)
    }

    /// Returns the next piece; `None` after the vendor's end.
    async fn read(&mut self) -> Result<Option<String>, AiError> {
        loop {
            let mut progress = false;
            if let Some(text) = self.decode(&mut progress)? {
                self.waiting_since = None;
                return Ok(Some(text));
            }
            let since = match self.waiting_since {
                Some(since) if !progress => since,
                _ => *self.waiting_since.insert(Instant::now()),
            };
            let by = self.patience(since);
            let Some(body) = self.body.as_mut().filter(|_| !self.reading.closed) else {
                self.succeed();
                return Ok(None);
            };
            // Checked here too, because a time-out does not end a wait that is over at once.
            let waited = if Instant::now() < by { timeout_at(by, body.next()).await.ok() } else { None };
            match waited {
                Some(Ok(Some(chunk))) => {
                    self.heard = true;
                    self.decoder.push(&chunk);
                }
                _ if self.reading.ended => self.reading.closed = true,
                Some(Ok(None)) => return Err(AiError::broken(P::NAME, "the stream ended before the answer did")),
                Some(Err(error)) => return Err(AiError::of_call(P::NAME, &error, !self.heard)),
                None => return Err(AiError::timed_out(P::NAME, "the stream fell silent", !self.heard)),
            }
        }
    }
}

#[async_trait]
impl<P: Protocol> Pieces for HttpPieces<P> {
    async fn next(&mut self) -> Result<Option<String>, AiError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.body.is_none() {
            return Ok(None);
        }
        self.read().await.map_err(|error| self.fail(error))
    }

    fn ready(&mut self) -> Result<Option<String>, AiError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.body.is_none() {
            return Ok(None);
        }
        self.decode(&mut false).map_err(|error| self.fail(error))
    }

    fn figures(&self) -> Figures {
        self.reading.figures
    }
}
