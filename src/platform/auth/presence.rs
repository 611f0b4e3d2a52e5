//! How many people are there: distinct users with an authenticated request in the last quarter of an hour.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

/// Seconds after which somebody who asks for nothing has gone.
const AWAY: i64 = 900;
/// People remembered at most, 16 bytes each.
const CAPACITY: usize = 500_000;

/// When each user was last seen by this process, by a hash of their id.
#[derive(Default)]
pub struct Presence {
    hasher: RandomState,
    seen: Mutex<HashMap<u64, i64>>,
}

impl Presence {
    pub fn note(&self, subject: &str, now: DateTime<Utc>) {
        let (key, now) = (self.hasher.hash_one(subject), now.timestamp());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < CAPACITY || seen.contains_key(&key) {
            seen.insert(key, now);
        }
    }

    /// Counts those who are there, and forgets the others.
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
    fn somebody_counts_once_and_for_a_quarter_of_an_hour() {
        let (presence, clock) = (Presence::default(), Clock::manual());
        presence.note("ada", clock.now());
        presence.note("ada", clock.now());
        clock.advance(TimeDelta::minutes(14));
        presence.note("bea", clock.now());
        assert_eq!(presence.count(clock.now()), 2);
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(presence.count(clock.now()), 1);
    }
}
