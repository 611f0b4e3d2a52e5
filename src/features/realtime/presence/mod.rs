//! Who is online: a user with at least one open connection on any instance. Changes are published on the channel `presence`.
//!
//! With Redis, each instance keeps the set of its users, and all keep the set of everybody. An instance that does not renew its
//! entry for 35 seconds is taken for crashed: another one removes its users. Without Redis, or while it is down, an instance
//! knows its own users only.

mod shared;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::bridge::{Bridge, Target};
use super::channel::PRESENCE;
use super::frames::{self, Frame, Kind};
use super::hub::Hub;
use crate::platform::clock::Clock;
use crate::platform::id::UserId;
use crate::platform::redis::Redis;
use shared::{Renewed, Shared};

/// Interval of renewing this instance's entry, and of looking for crashed ones.
const RENEWAL: Duration = Duration::from_secs(10);
/// Users told to Redis at once.
const BATCH: usize = 500;
/// Most users that the status lists.
const LISTED: usize = 100;

/// Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Presence(Arc<Inner>);

struct Inner {
    hub: Arc<Hub>,
    bridge: Arc<Bridge>,
    clock: Clock,
    shared: Option<Shared>,
    /// Users whose first connection opened or whose last one closed.
    changed: Mutex<BTreeSet<UserId>>,
    /// Users whose last change Redis could not be told.
    missed: Mutex<BTreeSet<UserId>>,
    wake: Arc<Notify>,
    /// True while no change waits.
    settled: watch::Sender<bool>,
}

/// The users that are online.
pub struct Online {
    pub total: usize,
    /// Some of them.
    pub users: Vec<String>,
}

impl Presence {
    /// Begins to follow the connections.
    pub fn new(hub: Arc<Hub>, bridge: Arc<Bridge>, clock: Clock, origin: String, redis: Option<Redis>) -> Self {
        let shared = redis.map(|redis| Shared::new(redis, origin));
        let presence = Self(Arc::new(Inner {
            hub,
            bridge,
            clock,
            shared,
            changed: Mutex::default(),
            missed: Mutex::default(),
            wake: Arc::default(),
            settled: watch::Sender::new(true),
        }));
        tokio::spawn(follow(Arc::downgrade(&presence.0), presence.0.wake.clone()));
        presence
    }

    /// Tells that a user's first connection opened or their last one closed.
    pub fn changed(&self, user: &UserId) {
        let mut changed = self.0.changed();
        self.0.settled.send_replace(false);
        changed.insert(user.clone());
        drop(changed);
        self.0.wake.notify_one();
    }

    pub async fn online(&self) -> Online {
        if let Some(shared) = &self.0.shared
            && let Some((total, users)) = shared.online(LISTED).await
        {
            return Online { total, users };
        }
        let users = self.0.hub.some_users(LISTED);
        Online { total: self.0.hub.users(), users: users.iter().map(|user| user.as_str().to_owned()).collect() }
    }

    /// Waits until the changes so far are told.
    pub async fn settled(&self) {
        // Fails only when the application is gone.
        let _ = self.0.settled.subscribe().wait_for(|settled| *settled).await;
    }

    /// Removes this instance, which has no connections any more.
    pub async fn leave(&self) {
        if let Some(shared) = &self.0.shared {
            shared.leave_for_good().await;
        }
    }
}

/// Tells changes as they come, until the application is gone.
async fn follow(presence: Weak<Inner>, wake: Arc<Notify>) {
    let mut renewal = Instant::now();
    while let Some(inner) = presence.upgrade() {
        // Before the renewal, which enters users without a word.
        inner.tell_changes().await;
        if Instant::now() >= renewal {
            renewal = Instant::now() + RENEWAL;
            inner.renew().await;
            inner.tell_changes().await;
        }
        drop(inner);
        tokio::select! {
            () = wake.notified() => {}
            () = sleep_until(renewal) => {}
        }
    }
}

impl Inner {
    fn changed(&self) -> std::sync::MutexGuard<'_, BTreeSet<UserId>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missed(&self) -> std::sync::MutexGuard<'_, BTreeSet<UserId>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody who came and who went.
    async fn tell_changes(&self) {
        loop {
            let batch: Vec<UserId> = {
                let mut changed = self.changed();
                if changed.is_empty() {
                    self.settled.send_replace(true);
                    return;
                }
                let batch: Vec<_> = changed.iter().take(BATCH).cloned().collect();
                for user in &batch {
                    changed.remove(user);
                }
                batch
            };
            let (come, gone): (Vec<_>, Vec<_>) = batch.into_iter().partition(|user| self.hub.is_online(user));
            // Without Redis, what happens here is all that is known.
            let (told_come, told_gone) = match &self.shared {
                Some(shared) => {
                    let told = (shared.enter(&come).await, shared.leave(&gone).await);
                    for (users, told) in [(&come, &told.0), (&gone, &told.1)] {
                        if told.is_none() {
                            self.missed().extend(users.iter().cloned());
                        }
                    }
                    told
                }
                None => (None, None),
            };
            self.publish(&told_come.unwrap_or(come), Kind::UserOnline);
            self.publish(&told_gone.unwrap_or(gone), Kind::UserOffline);
        }
    }

    fn publish(&self, users: &[UserId], kind: Kind) {
        for user in users {
            let frame = Frame::new(kind, frames::Presence { user_id: user }, Some(PRESENCE), self.clock.now());
            self.bridge.send(&Target::Channel(PRESENCE.to_owned()), &frame, None);
        }
    }

    /// Renews this instance's entry, and removes the users of crashed instances.
    async fn renew(&self) {
        let Some(shared) = &self.shared else { return };
        let Some(renewed) = shared.renew().await else { return };
        if renewed != Renewed::Known {
            for batch in self.hub.some_users(usize::MAX).chunks(BATCH) {
                let come = shared.enter(batch).await.unwrap_or_default();
                // A Redis without data does not know who was online: nobody came.
                if renewed == Renewed::Swept {
                    self.publish(&come, Kind::UserOnline);
                }
            }
        }
        let missed = std::mem::take(&mut *self.missed());
        if !missed.is_empty() {
            self.settled.send_replace(false);
            self.changed().extend(missed);
        }
        while let Some(gone) = shared.sweep().await {
            self.publish(&gone, Kind::UserOffline);
        }
    }
}
