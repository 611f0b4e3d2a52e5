//! An open stream: sends a user's events until the access ends, the server stops or the client leaves. It reads the next events
//! only when the client has taken the earlier ones.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt, stream};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::position::Position;
use super::service::{self, Start};
use super::state::{Seat, State};
use super::{frames, store};
use crate::app::App;
use crate::features::users;
use crate::platform::auth::Claims;
use crate::platform::crypto;
use crate::platform::error::{Error, Result};
use crate::platform::http::RequestContext;
use crate::platform::http::sse::{self, HEARTBEAT};

/// Interval at which user and session are checked again.
const CHECK: TimeDelta = TimeDelta::seconds(30);
/// Shortest time after which a client reconnects, and what may be added: not all come back at once.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_SPREAD: Duration = Duration::from_secs(4);
/// `Retry-After` of a stream beyond the user's limit, in seconds.
const FULL: u64 = 10;

/// Opens a stream for an admitted user.
pub async fn open(app: App, claims: Arc<Claims>, context: Arc<RequestContext>, seen: Option<&str>) -> Result<Response> {
    let state = app.state::<State>();
    let Some(seat) = state.take_seat(&claims.subject) else { return Err(Error::RateLimited { retry_after: FULL }) };
    let poll = state.poll();
    let (name, position) = match service::begin(&app, &claims.subject, seen).await? {
        Start::At(position) => ("ready", position),
        Start::Resync(position) => ("resync", position),
    };
    let mut first = String::new();
    frames::retry(&mut first, RETRY + crypto::random_part(RETRY_SPREAD));
    frames::event(&mut first, name, position, &json!({}));
    let (ending, grace) = (app.clone(), app.config.core.shutdown_grace);
    let live = Live {
        first: Some(first),
        seat,
        position,
        poll,
        check_at: app.clock.now() + CHECK,
        sent: Instant::now(),
        ended: Box::pin(async move { ending.phase.turn_to_end(grace).await }),
        claims,
        context,
        app,
    };
    Ok(sse::frames(stream::unfold(live, |live| live.context.clone().scope(live.next_frame()))))
}

struct Live {
    app: App,
    claims: Arc<Claims>,
    context: Arc<RequestContext>,
    /// The beginning, until it is sent.
    first: Option<String>,
    /// Where the client is.
    position: Position,
    poll: Duration,
    check_at: DateTime<Utc>,
    /// When something was sent last.
    sent: Instant,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    seat: Seat,
}

/// Whether the caller may still read.
enum Access {
    Open,
    Ended,
    /// It cannot be checked at the moment.
    Unknown,
}

impl Live {
    /// Returns the bytes to send next; `None` at the end. Polled only when the connection takes more bytes.
    async fn next_frame(mut self) -> Option<(Bytes, Self)> {
        let frame = match self.first.take() {
            Some(first) => first,
            None => self.wait().await?,
        };
        self.sent = Instant::now();
        Some((frame.into(), self))
    }

    async fn wait(&mut self) -> Option<String> {
        loop {
            if (&mut self.ended).now_or_never().is_some() {
                return None;
            }
            self.seat.listen();
            let found = match self.access().await {
                Access::Ended => return None,
                Access::Open => self.read().await,
                Access::Unknown => None,
            };
            // While the database cannot be asked, only as often as the heart beats.
            let poll = if found.is_some() { self.poll } else { HEARTBEAT };
            match found {
                Some(frame) if !frame.is_empty() => return Some(frame),
                found if self.sent.elapsed() >= HEARTBEAT => {
                    let mut frame = String::new();
                    match found {
                        Some(_) => frames::heartbeat(&mut frame, self.position),
                        None => frame.push_str(frames::KEEP_ALIVE),
                    }
                    return Some(frame);
                }
                _ => {}
            }
            let pause = poll.min(HEARTBEAT.saturating_sub(self.sent.elapsed()));
            tokio::select! {
                () = &mut self.ended => return None,
                () = self.seat.woken() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Writes the next events; empty if there are none, `None` if the database cannot be asked: a client whose stream ended would
    /// not get a new one either, and `EventSource` gives up after a refusal.
    async fn read(&mut self) -> Option<String> {
        let now = self.app.clock.now();
        let events = match service::next(&self.app, &self.claims.subject, self.position.seq).await {
            Ok(events) => events,
            // Logged where it is made, if the database is down.
            Err(Error::Unavailable { .. } | Error::Contended) => return None,
            Err(error) => {
                tracing::error!(error = ?error, "events cannot be read");
                return None;
            }
        };
        let mut frame = String::new();
        for store::Numbered { seq, event, data, created_at } in &events {
            self.position = Position::new(*seq, *created_at);
            frames::event(&mut frame, event, self.position, data);
        }
        if events.is_empty() {
            self.position.at = now.timestamp();
        }
        Some(frame)
    }

    async fn access(&mut self) -> Access {
        let now = self.app.clock.now();
        if self.claims.expires_at <= now.timestamp() {
            return Access::Ended;
        }
        if now < self.check_at {
            return Access::Open;
        }
        match users::service::readmit(&self.app, self.claims.clone(), &self.context).await {
            Ok(_) => {
                self.check_at = now + CHECK;
                Access::Open
            }
            Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => Access::Ended,
            Err(_) => Access::Unknown,
        }
    }
}
