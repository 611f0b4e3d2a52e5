//! The connections of this instance, by user and by channel, and the delivery of frames to them. A delivery takes no time for
//! channels that it is not about, and copies no frame.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::frames::Frame;
use super::metrics::Metrics;
use super::outbox::{End, Outbox};
use crate::platform::id::UserId;

/// A connection of an authenticated user.
pub struct Connection {
    id: u64,
    pub user: UserId,
    pub outbox: Outbox,
}

type Members = HashMap<u64, Arc<Connection>>;

pub struct Hub {
    metrics: Metrics,
    next_id: AtomicU64,
    open: AtomicUsize,
    users: RwLock<HashMap<UserId, Members>>,
    channels: RwLock<HashMap<Arc<str>, Arc<RwLock<Members>>>>,
}

/// What became of a user by a connection that came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is their first, or was their last.
    Presence,
    Nothing,
}

/// The user has as many connections as they may.
#[derive(Debug)]
pub struct TooMany;

impl Hub {
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, next_id: AtomicU64::new(0), open: AtomicUsize::new(0), users: RwLock::default(), channels: RwLock::default() }
    }

    /// Adds a connection of a user who has fewer than `most`.
    pub fn connect(&self, user: &UserId, outbox: Outbox, most: usize) -> Result<(Arc<Connection>, Changed), TooMany> {
        let mut users = write(&self.users);
        let open = users.get(user).map_or(0, Members::len);
        if open >= most {
            return Err(TooMany);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection { id, user: user.clone(), outbox });
        users.entry(user.clone()).or_default().insert(id, connection.clone());
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok((connection, if open == 0 { Changed::Presence } else { Changed::Nothing }))
    }

    /// Removes a connection whose subscriptions are removed.
    pub fn disconnect(&self, connection: &Connection) -> Changed {
        let mut users = write(&self.users);
        let Some(members) = users.get_mut(&connection.user) else { return Changed::Nothing };
        if members.remove(&connection.id).is_some() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        if !members.is_empty() {
            return Changed::Nothing;
        }
        users.remove(&connection.user);
        if users.len() * 4 < users.capacity() {
            users.shrink_to_fit();
        }
        Changed::Presence
    }

    /// Subscribes a connection, and sends it the reply first: nothing of the channel arrives before, and everything after it.
    pub fn subscribe(&self, connection: &Arc<Connection>, channel: &str, reply: &Frame) {
        let mut channels = write(&self.channels);
        let members = match channels.get(channel) {
            Some(members) => members.clone(),
            None => channels.entry(channel.into()).or_default().clone(),
        };
        let mut members = write(&members);
        self.send(connection, reply);
        members.insert(connection.id, connection.clone());
    }

    pub fn unsubscribe(&self, connection: &Connection, channel: &str) {
        let mut channels = write(&self.channels);
        let Some(members) = channels.get(channel) else { return };
        let empty = {
            let mut members = write(members);
            members.remove(&connection.id);
            if members.len() * 4 < members.capacity() {
                members.shrink_to_fit();
            }
            members.is_empty()
        };
        if empty {
            channels.remove(channel);
        }
    }

    /// Sends a frame to one connection.
    pub fn send(&self, connection: &Connection, frame: &Frame) {
        connection.outbox.push(&frame.text);
        self.metrics.sent(frame.kind, 1);
    }

    /// Sends a frame to every subscriber of a channel but the connections of one user.
    pub fn to_channel(&self, channel: &str, frame: &Frame, but: Option<&UserId>) {
        let Some(members) = self.members(channel) else { return };
        self.deliver(read(&members).values().filter(|connection| but != Some(&connection.user)), frame);
    }

    /// Sends a frame to every connection of a user but those that are subscribed to `unless`: they get it there.
    pub fn to_user(&self, user: &UserId, frame: &Frame, unless: Option<&str>) {
        let subscribed = unless.and_then(|channel| self.members(channel));
        let subscribed = subscribed.as_ref().map(|members| read(members));
        let users = read(&self.users);
        let Some(connections) = users.get(user) else { return };
        let outside = |id: &u64| !subscribed.as_ref().is_some_and(|members| members.contains_key(id));
        self.deliver(connections.iter().filter(|(id, _)| outside(id)).map(|(_, connection)| connection), frame);
    }

    /// Sends a frame to every connection but those of one user.
    pub fn to_all(&self, frame: &Frame, but: Option<&UserId>) {
        let users = read(&self.users);
        self.deliver(users.iter().filter(|(user, _)| but != Some(user)).flat_map(|(_, connections)| connections.values()), frame);
    }

    fn deliver<'c>(&self, connections: impl Iterator<Item = &'c Arc<Connection>>, frame: &Frame) {
        let mut sent = 0;
        for connection in connections {
            connection.outbox.push(&frame.text);
            sent += 1;
        }
        self.metrics.sent(frame.kind, sent);
    }

    /// Asks every connection of a user to check whether they may still be connected.
    pub fn check(&self, user: &UserId) {
        if let Some(connections) = read(&self.users).get(user) {
            for connection in connections.values() {
                connection.outbox.check();
            }
        }
    }

    /// Ends every connection of a user who may not be connected any more.
    pub fn end(&self, user: &UserId) {
        if let Some(connections) = read(&self.users).get(user) {
            for connection in connections.values() {
                connection.outbox.end(End::Unauthorized);
            }
        }
    }

    pub fn is_online(&self, user: &UserId) -> bool {
        read(&self.users).contains_key(user)
    }

    /// The number of connections.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// The number of users with a connection.
    pub fn users(&self) -> usize {
        read(&self.users).len()
    }

    /// Some of the users with a connection, or all with `usize::MAX`.
    pub fn some_users(&self, most: usize) -> Vec<UserId> {
        read(&self.users).keys().take(most).cloned().collect()
    }

    fn members(&self, channel: &str) -> Option<Arc<RwLock<Members>>> {
        read(&self.channels).get(channel).cloned()
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
