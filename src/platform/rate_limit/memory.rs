//! The counters of one process: a bounded number of callers, 60 counters each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::{Caller, Class, Decision, Rate, SLOT_COUNT, SLOTS};

const SHARDS: usize = 16;
/// Callers remembered per shard: about 65,000 in all, some 20 MiB at the very most.
const SHARD_CAPACITY: usize = 4096;

pub(super) struct Counters {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Default)]
struct Shard {
    windows: HashMap<(Class, Caller), Counts>,
    swept: i64,
}

struct Counts {
    newest: u64,
    slots: [u32; SLOT_COUNT],
    /// When the last counted request has left its window.
    idle_at: i64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Counters {
    pub fn count(&self, rate: Rate, class: Class, caller: Caller, by: u32, now: DateTime<Utc>) -> Decision {
        let key = (class, caller);
        let mut shard = self.shard(&key);
        if shard.windows.len() >= SHARD_CAPACITY && !shard.windows.contains_key(&key) {
            shard.make_room(now.timestamp());
        }
        let counts = match shard.windows.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Counts { newest: rate.window.index(now), slots: [0; SLOT_COUNT], idle_at: 0 }),
        };
        counts.count(rate, by, now)
    }

    pub fn forget(&self, class: Class, caller: Caller) {
        let key = (class, caller);
        self.shard(&key).windows.remove(&key);
    }

    fn shard(&self, key: &(Class, Caller)) -> MutexGuard<'_, Shard> {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Drops callers that are idle, at most once a second; else any one, so that the bound holds.
    fn make_room(&mut self, now: i64) {
        if self.swept != now {
            self.swept = now;
            self.windows.retain(|_, counts| counts.idle_at > now);
        }
        if self.windows.len() >= SHARD_CAPACITY
            && let Some(key) = self.windows.keys().next().cloned()
        {
            self.windows.remove(&key);
        }
    }
}

impl Counts {
    fn count(&mut self, rate: Rate, by: u32, now: DateTime<Utc>) -> Decision {
        let index = rate.window.index(now).max(self.newest);
        for passed in 0..(index - self.newest).min(SLOTS) {
            self.slots[slot(index - passed)] = 0;
        }
        self.newest = index;
        let mut total: u64 = self.slots.iter().map(|n| u64::from(*n)).sum();
        let allowed = total < u64::from(rate.limit);
        if allowed && by > 0 {
            self.slots[slot(index)] += by;
            total += u64::from(by);
            self.idle_at = rate.window.leaves(index) / 1_000_000 + 1;
        }
        let first = index.saturating_sub(SLOTS - 1);
        let oldest = (first..=index).find(|i| self.slots[slot(*i)] > 0).unwrap_or(index);
        Decision::new(rate, allowed, total, oldest, now)
    }
}

fn slot(index: u64) -> usize {
    usize::try_from(index % SLOTS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::Window;
    use super::*;
    use crate::platform::clock::Clock;

    fn caller(n: u32) -> Caller {
        Caller::address(std::net::Ipv4Addr::from_bits(n).into())
    }

    #[test]
    fn a_full_budget_comes_back_piece_by_piece() {
        let (counters, clock, rate) = (Counters::default(), Clock::manual(), Rate { limit: 2, window: Window::MINUTE });
        let hit = || counters.count(rate, Class::Default, caller(1), 1, clock.now());
        assert_eq!(hit().remaining, 1);
        clock.advance(TimeDelta::seconds(30));
        assert_eq!(hit().remaining, 0);
        let refused = hit();
        assert!(!refused.allowed && (29..=30).contains(&refused.retry_after), "{refused:?}");
        clock.advance(TimeDelta::seconds(i64::try_from(refused.retry_after).unwrap()));
        let again = hit();
        assert!(again.allowed && again.remaining == 0, "{again:?}");
        assert!(!hit().allowed);
    }

    #[test]
    fn knocking_on_does_not_prolong_the_wait() {
        let (counters, clock, rate) = (Counters::default(), Clock::manual(), Rate { limit: 1, window: Window::SECOND });
        let hit = || counters.count(rate, Class::Default, caller(1), 1, clock.now());
        assert!(hit().allowed);
        for _ in 0..50 {
            clock.advance(TimeDelta::milliseconds(10));
            assert!(!hit().allowed);
        }
        clock.advance(TimeDelta::milliseconds(510));
        assert!(hit().allowed);
    }

    #[test]
    fn looking_counts_nothing_and_what_is_forgotten_is_gone() {
        let (counters, clock, rate) = (Counters::default(), Clock::manual(), Rate { limit: 1, window: Window::QUARTER_HOUR });
        let count = |by| counters.count(rate, Class::Guess, caller(1), by, clock.now()).allowed;
        assert!(count(0) && count(0) && count(1));
        assert!(!count(0) && !count(1));
        counters.forget(Class::Guess, caller(1));
        assert!(count(0));
    }

    #[test]
    fn the_number_of_callers_is_bounded() {
        let (counters, clock, rate) = (Counters::default(), Clock::manual(), Rate { limit: 1, window: Window::DAY });
        for n in 0..100_000 {
            counters.count(rate, Class::Default, caller(n), 1, clock.now());
        }
        let kept: usize = counters.shards.iter().map(|shard| shard.lock().unwrap().windows.len()).sum();
        assert!(kept <= SHARDS * SHARD_CAPACITY, "{kept}");
    }
}
