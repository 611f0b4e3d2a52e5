//! Open streams of this instance, and how they learn of committed events: from this process at once, from others over Redis, and
//! otherwise by asking the database now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;

use crate::app::feature::Setup;
use crate::platform::http::sse::HEARTBEAT;
use crate::platform::id::UserId;
use crate::platform::redis::{Heard, Redis};

/// Streams that a user may have open at each instance.
pub const MAX_STREAMS: usize = 3;
/// Interval at which a stream asks the database where there is no Redis.
const POLL: Duration = Duration::from_secs(3);
/// The Redis channel that carries the ids of users with new events.
const CHANNEL: &str = "events";

/// Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    open: Mutex<HashMap<Arc<str>, Streams>>,
    gauge: IntGauge,
    redis: Option<Redis>,
}

/// The open streams of one user.
struct Streams {
    count: usize,
    wake: watch::Sender<()>,
}

impl State {
    pub fn new(setup: &Setup<'_>) -> Self {
        let gauge = setup.metrics.int_gauge("event_streams", "Open streams of events");
        let state = Self(Arc::new(Inner { open: Mutex::default(), gauge, redis: setup.redis.cloned() }));
        state.listen();
        state
    }

    fn listen(&self) {
        let Some(redis) = &self.0.redis else { return };
        let state = self.clone();
        redis.listen(CHANNEL, move |heard| match heard {
            Heard::Connected => state.wake_all(),
            Heard::Message(user) => state.wake_local(&user),
            Heard::Lost => {}
        });
    }

    /// Wakes the user's streams, on every instance that shares Redis.
    pub fn wake(&self, user: &UserId) {
        self.wake_local(user.as_str());
        if let Some(redis) = &self.0.redis {
            redis.publish(CHANNEL, user.as_str().to_owned());
        }
    }

    fn wake_local(&self, user: &str) {
        if let Some(streams) = self.open().get(user) {
            streams.wake.send_replace(());
        }
    }

    fn wake_all(&self) {
        self.open().values().for_each(|streams| {
            streams.wake.send_replace(());
        });
    }

    /// How long a stream waits for a wake-up before it asks the database. With Redis, a lost message is made up for at the next
    /// heartbeat.
    pub fn poll(&self) -> Duration {
        if self.0.redis.is_some() { HEARTBEAT } else { POLL }
    }

    /// Takes one of the user's places; `None` if all are taken.
    pub fn take_seat(&self, user: &UserId) -> Option<Seat> {
        let mut open = self.open();
        let streams = open.entry(user.shared().clone()).or_insert_with(|| Streams { count: 0, wake: watch::Sender::new(()) });
        if streams.count >= MAX_STREAMS {
            return None;
        }
        streams.count += 1;
        let wake = streams.wake.subscribe();
        self.0.gauge.inc();
        Some(Seat { wake, user: user.clone(), state: self.clone() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, Streams>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of an open stream, until it is dropped.
pub struct Seat {
    pub user: UserId,
    wake: watch::Receiver<()>,
    state: State,
}

impl Seat {
    /// From now on, [`Seat::woken`] waits for events that are committed later.
    pub fn listen(&mut self) {
        self.wake.mark_unchanged();
    }

    /// Returns when an event may have been committed since [`Seat::listen`].
    pub async fn woken(&mut self) {
        // Fails only without a sender, which the place keeps.
        if self.wake.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.state.0.gauge.dec();
        let mut open = self.state.open();
        if let Some(streams) = open.get_mut(self.user.as_str()) {
            streams.count -= 1;
            if streams.count == 0 {
                open.remove(self.user.as_str());
            }
        }
    }
}
