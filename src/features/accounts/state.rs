//! In-memory state: cached sessions, counters of wrong passwords, and the threads that hash passwords.

use std::sync::Arc;

use chrono::TimeDelta;

use super::model::OpenSession;
use crate::app::feature::Setup;
use crate::platform::auth::passwords::Passwords;
use crate::platform::cache::{Cache, Cached};
use crate::platform::rate_limit::Limiter;

/// TTL of cached sessions.
const SESSION_TTL: TimeDelta = TimeDelta::seconds(5);
/// Capacity of the session cache in bytes.
const SESSION_BYTES: u64 = 4 << 20;

#[derive(Clone)]
pub struct State {
    /// Open sessions by id; `None` for sessions that have ended.
    pub sessions: Cache<Option<OpenSession>>,
    pub passwords: Arc<Passwords>,
    /// Counts wrong passwords. Apart from the counters of requests, which would push these out of memory.
    pub guesses: Arc<Limiter>,
}

impl Cached for OpenSession {
    fn heap_bytes(&self) -> usize {
        self.user_id.as_str().len()
    }
}

impl State {
    pub fn new(setup: &Setup<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            sessions: Cache::new("session", SESSION_BYTES, SESSION_TTL, setup.metrics, setup.redis.cloned()),
            passwords: Arc::new(Passwords::new(setup.config.auth.passwords)?),
            guesses: Arc::new(Limiter::new(setup.redis.cloned())),
        })
    }
}
