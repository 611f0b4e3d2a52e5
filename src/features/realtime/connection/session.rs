//! An open connection: its task waits for frames to send, frames of the client, and the next of its deadlines.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::caller::{self, Caller};
use super::rate::Rate;
use crate::app::App;
use crate::features::realtime::channel::{self, Use};
use crate::features::realtime::config::Settings;
use crate::features::realtime::frames::{Frame, Kind};
use crate::features::realtime::hub::{Changed, Connection};
use crate::features::realtime::metrics::Counted;
use crate::features::realtime::outbox::{End, Next, Outbox};
use crate::features::realtime::state::State;
use crate::platform::actor::CurrentUser;
use crate::platform::crypto;
use crate::platform::http::RequestContext;
use crate::platform::http::websocket::{CapacityError, Message, ProtocolError, Socket, SocketError, Utf8Bytes};

/// How long before the end of its token a client is told.
const NOTICE: TimeDelta = TimeDelta::seconds(60);
/// Interval of checks that the user may still be connected. Each connection adds up to [`SPREAD`], so that the checks of many
/// do not come at once.
const CHECK: Duration = Duration::from_secs(35);
const SPREAD: Duration = Duration::from_secs(15);
/// Longest wait for the next deadline: the clock of tokens may be set.
const LONGEST: Duration = Duration::from_secs(60);
/// Frames that are gathered for one write.
const GATHERED: usize = 64;
/// How long one write may take, also if the client reads a little now and then.
const WRITE: Duration = Duration::from_secs(60);

pub struct Session {
    pub(super) app: App,
    pub(super) state: State,
    pub(super) context: Arc<RequestContext>,
    pub(super) user: CurrentUser,
    pub(super) connection: Arc<Connection>,
    pub(super) channels: HashSet<Arc<str>>,
    pub(super) rate: Rate,
    /// When the token ends; `None` for a connection that ends with its session.
    expires: Option<DateTime<Utc>>,
    /// Whether the client was told that the token ends.
    told: bool,
    next_ping: Instant,
    /// Pings since the last pong.
    unanswered: u32,
    next_check: Instant,
    _counted: Counted,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client is gone, or does not answer.
    Gone,
    /// The client sent a close frame; its reply may not be written yet.
    ByClient,
    ByServer(End),
}

impl Session {
    /// Registers the connection; the client gets its first frame.
    pub fn open(app: &App, context: &Arc<RequestContext>, caller: Caller) -> Result<Self, End> {
        let (state, settings) = (app.state::<State>().clone(), app.settings::<Settings>());
        let Caller { user, expires } = caller;
        let outbox = Outbox::new(settings.queued_bytes());
        let now = app.clock.now();
        let data = json!({"user_id": user.id, "message": "Connected", "connected_at": text(now)});
        // Before anybody else can send.
        outbox.push(&Frame::new(Kind::Connected, data, None, now).text);
        let connected = state.hub().connect(&user.id, outbox, settings.connections_per_user);
        let (connection, changed) = connected.map_err(|_too_many| End::TooMany)?;
        state.metrics().sent(Some(Kind::Connected), 1);
        if changed == Changed::Presence {
            state.running().presence.changed(&user.id);
        }
        let started = Instant::now();
        Ok(Self {
            app: app.clone(),
            context: context.clone(),
            user,
            connection,
            channels: HashSet::new(),
            rate: Rate::new(settings.message_rate, started),
            expires,
            told: false,
            next_ping: started + settings.ping_interval,
            unanswered: 0,
            next_check: started + until_check(),
            _counted: state.metrics().authenticated(),
            state,
        })
    }

    /// Serves the connection until it has to end.
    pub async fn run(&mut self, socket: &mut Socket) -> Ended {
        let app = self.app.clone();
        let mut stopping = pin!(app.phase.turn_to_end(app.config.core.shutdown_grace));
        loop {
            let deadline = self.deadline();
            let done = tokio::select! {
                next = self.connection.outbox.next() => match next {
                    Next::Frame(frame) => self.write(socket, frame).await,
                    Next::Check => Box::pin(self.check()).await,
                    Next::End(end) => Err(Ended::ByServer(end)),
                },
                incoming = socket.next() => self.receive(incoming).await,
                () = sleep_until(deadline) => self.on_time(socket).await,
                () = &mut stopping => Err(Ended::ByServer(End::Stopping)),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Writes a frame and those that wait behind it.
    async fn write(&self, socket: &mut Socket, first: Utf8Bytes) -> Result<(), Ended> {
        let outbox = &self.connection.outbox;
        let written = async {
            socket.feed(Message::Text(first)).await?;
            for _ in 1..GATHERED {
                let Some(next) = outbox.try_next_frame() else { break };
                socket.feed(Message::Text(next)).await?;
            }
            socket.flush().await
        };
        self.unless_ended(written).await
    }

    /// Runs a write, until the connection has to end for another reason.
    async fn unless_ended(&self, write: impl Future<Output = Result<(), SocketError>>) -> Result<(), Ended> {
        let outbox = &self.connection.outbox;
        let mut write = pin!(timeout(WRITE, write));
        let written = match poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await {
            Poll::Ready(written) => written,
            Poll::Pending => {
                outbox.set_stuck(Some(Instant::now()));
                let written = tokio::select! {
                    written = write => written,
                    end = outbox.ended() => return Err(Ended::ByServer(end)),
                };
                outbox.set_stuck(None);
                written
            }
        };
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(Ended::Gone),
            Err(_) => Err(Ended::ByServer(End::SlowReader)),
        }
    }

    async fn receive(&mut self, incoming: Option<Result<Message, SocketError>>) -> Result<(), Ended> {
        match incoming {
            Some(Ok(Message::Text(text))) => Box::pin(self.handle(&text)).await.map_err(Ended::ByServer),
            Some(Ok(Message::Binary(_))) => {
                self.refuse_binary();
                Ok(())
            }
            Some(Ok(message @ (Message::Ping(_) | Message::Pong(_)))) => {
                if matches!(message, Message::Pong(_)) {
                    self.unanswered = 0;
                }
                if !self.rate.take(Instant::now()) {
                    // Replies to pings are made by the library: reading later is what limits them.
                    sleep(self.rate.pause()).await;
                }
                Ok(())
            }
            // Nothing may be written any more but the library's reply.
            Some(Ok(Message::Close(_))) => Err(Ended::ByClient),
            None => Err(Ended::Gone),
            Some(Ok(Message::Frame(_))) => Ok(()),
            Some(Err(error)) => Err(closed_by(&error)),
        }
    }

    /// The next time at which something is due.
    fn deadline(&self) -> Instant {
        let next = self.next_ping.min(self.next_check);
        let Some(expires) = self.expires else { return next };
        let at = if self.told { expires } else { expires - NOTICE };
        let wait = (at - self.app.clock.now()).to_std().unwrap_or_default();
        next.min(Instant::now() + wait.min(LONGEST))
    }

    async fn on_time(&mut self, socket: &mut Socket) -> Result<(), Ended> {
        let now = Instant::now();
        if let Some(expires) = self.expires {
            let left = expires - self.app.clock.now();
            if left <= TimeDelta::zero() {
                return Err(Ended::ByServer(End::Unauthorized));
            }
            if left <= NOTICE && !self.told {
                self.told = true;
                self.send(Kind::Expiring, json!({"expires_at": text(expires)}));
            }
        }
        if now >= self.next_check {
            Box::pin(self.check()).await?;
        }
        if now >= self.next_ping {
            if self.unanswered >= 2 {
                tracing::debug!("a WebSocket without a reply to two pings is closed");
                return Err(Ended::Gone);
            }
            self.unanswered += 1;
            self.next_ping = now + self.app.settings::<Settings>().ping_interval;
            self.unless_ended(socket.send(Message::Ping(Vec::new().into()))).await?;
        }
        Ok(())
    }

    /// Checks that the user may still be connected, and use their channels. A database that does not answer ends nothing.
    async fn check(&mut self) -> Result<(), Ended> {
        self.next_check = Instant::now() + until_check();
        let (app, claims) = (self.app.clone(), self.user.claims.clone());
        match caller::readmit(&app, claims, &self.context).await {
            Ok(user) => self.user = user,
            Err(End::Unauthorized) => return Err(Ended::ByServer(End::Unauthorized)),
            Err(_) => return Ok(()),
        }
        let revocable: Vec<_> = self.channels.iter().filter(|name| channel::is_revocable(&app, name)).cloned().collect();
        for name in revocable {
            if let Ok(false) = channel::allows(&app, &self.user, &name, Use::Subscribe).await {
                self.leave(&name);
            }
        }
        Ok(())
    }

    /// Lets the connection live as long as a newer token.
    pub(super) fn renew(&mut self, user: CurrentUser, expires: DateTime<Utc>) {
        self.user = user;
        self.expires = Some(expires);
        self.told = false;
        self.send(Kind::Authenticated, json!({"expires_at": text(expires)}));
    }

    pub(super) fn send(&self, kind: Kind, data: serde_json::Value) {
        self.send_about(kind, data, None);
    }

    pub(super) fn send_about(&self, kind: Kind, data: serde_json::Value, channel: Option<&str>) {
        self.state.hub().send(&self.connection, &Frame::new(kind, data, channel, self.app.clock.now()));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for name in self.channels.drain() {
            self.state.hub().unsubscribe(&self.connection, &name);
        }
        if self.state.hub().disconnect(&self.connection) == Changed::Presence {
            self.state.running().presence.changed(&self.connection.user);
        }
    }
}

/// How a failed read ends the connection.
fn closed_by(error: &SocketError) -> Ended {
    match error {
        SocketError::Capacity(CapacityError::MessageTooLong { .. }) => Ended::ByServer(End::TooLarge),
        SocketError::Utf8(_) => Ended::ByServer(End::NotUtf8),
        SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ended::Gone,
        SocketError::Protocol(_) => Ended::ByServer(End::Protocol),
        _ => Ended::Gone,
    }
}

fn until_check() -> Duration {
    CHECK + crypto::random_part(SPREAD)
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
