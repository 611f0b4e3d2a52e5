//! Presence: the number of distinct users with an authenticated request in the last 15 minutes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::platform::id::UserId;

/// Seconds after which a user without a request is no longer counted.
const AWAY: i64 = 900;
/// Maximum number of users tracked, 16 bytes each.
const CAPACITY: usize = 500_000;

/// Time of each user's last request to this process, by a hash of the user id.
#[derive(Default)]
pub struct Presence {
    hasher: RandomState,
    seen: Mutex<HashMap<u64, i64>>,
}

impl Presence {
    pub fn note(&self, user: &UserId, now: DateTime<Utc>) {
        let (key, now) = (self.hasher.hash_one(user), now.timestamp());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < CAPACITY || seen.contains_key(&key) {
            seen.insert(key, now);
        }
    }

    /// Returns the number of users present and removes the others.
    pub fn count(&self, now: DateTime<Utc>) -> i64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| now.timestamp() - *at < AWAY);
        i64::try_from(seen.len()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::platform::clock::Clock;

    #[test]
    fn presence_user_counts_once_per_15_minutes() {
        let user = |id: &str| UserId::parse(id).unwrap();
        let (presence, clock) = (Presence::default(), Clock::manual());
        presence.note(&user("ada"), clock.now());
        presence.note(&user("ada"), clock.now());
        clock.advance(TimeDelta::minutes(14));
        presence.note(&user("bea"), clock.now());
        assert_eq!(presence.count(clock.now()), 2);
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(presence.count(clock.now()), 1);
    }
}
