//! The counters of one process: a bounded number of callers, each with a short list of sub-window counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::budget::{Caller, Decision, Limit, Rate, SLOTS};

const SHARDS: usize = 16;
/// Callers remembered per shard: about 65,000 in all, some 8 MiB where each of them has made a few requests.
const SHARD_CAPACITY: usize = 4096;

pub(super) struct Counters {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

type Key = (&'static str, Caller);

#[derive(Default)]
struct Shard {
    windows: HashMap<Key, Counts>,
    swept: i64,
}

/// The counts of one caller. Most callers have made a few requests, so only sub-windows that are not empty are kept.
struct Counts {
    newest: u64,
    /// The low bits of a sub-window's number, and its count; oldest first, at most [`SLOTS`].
    slots: Vec<(u32, u32)>,
    /// Unix seconds at which the last counted request has left the window.
    idle_at: i64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Counters {
    pub fn count(&self, limit: &Limit, caller: &Caller, by: u32, now: DateTime<Utc>) -> Decision {
        let key = (limit.name, caller.clone());
        let mut shard = self.shard(&key);
        if by > 0 && shard.windows.len() >= SHARD_CAPACITY && !shard.windows.contains_key(&key) {
            shard.make_room(now.timestamp());
        }
        match shard.windows.entry(key) {
            Entry::Occupied(entry) => entry.into_mut().count(limit.rate, by, now),
            // Nothing is kept of a caller who has counted nothing.
            Entry::Vacant(_) if by == 0 => Counts::new(limit.rate, now).count(limit.rate, 0, now),
            Entry::Vacant(entry) => entry.insert(Counts::new(limit.rate, now)).count(limit.rate, by, now),
        }
    }

    /// Takes back one request that was counted at this time.
    pub fn give_back(&self, limit: &Limit, caller: &Caller, now: DateTime<Utc>) {
        let key = (limit.name, caller.clone());
        if let Some(counts) = self.shard(&key).windows.get_mut(&key) {
            counts.give_back(limit.rate, now);
        }
    }

    pub fn forget(&self, limit: &Limit, caller: &Caller) {
        let key = (limit.name, caller.clone());
        self.shard(&key).windows.remove(&key);
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Drops idle callers, at most once a second; if the shard is still full, drops the quarter with the lowest counts. So many
    /// callers with a few requests each, such as the networks of one attacker, do not push out a counter that is used up.
    fn make_room(&mut self, now: i64) {
        if self.swept != now {
            self.swept = now;
            self.windows.retain(|_, counts| counts.idle_at > now);
        }
        if self.windows.len() < SHARD_CAPACITY {
            return;
        }
        let mut totals: Vec<u64> = self.windows.values().map(Counts::total).collect();
        let (_, highest, _) = totals.select_nth_unstable(SHARD_CAPACITY / 4);
        let (highest, mut room) = (*highest, SHARD_CAPACITY / 4);
        self.windows.retain(|_, counts| {
            let drop = room > 0 && counts.total() <= highest;
            room -= usize::from(drop);
            !drop
        });
    }
}

impl Counts {
    fn new(rate: Rate, now: DateTime<Utc>) -> Self {
        Self { newest: rate.window.index(now), slots: Vec::new(), idle_at: 0 }
    }

    /// All counts that are kept; some may have left the window.
    fn total(&self) -> u64 {
        self.slots.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    #[expect(clippy::cast_possible_truncation, reason = "low bits are enough to tell the sub-windows of one window apart")]
    fn count(&mut self, rate: Rate, by: u32, now: DateTime<Utc>) -> Decision {
        let index = rate.window.index(now).max(self.newest);
        if index - self.newest >= SLOTS {
            self.slots.clear();
        }
        self.newest = index;
        let low = index as u32;
        self.slots.retain(|(slot, _)| u64::from(low.wrapping_sub(*slot)) < SLOTS);
        let mut total = self.total();
        let allowed = total < u64::from(rate.limit);
        if allowed && by > 0 {
            match self.slots.last_mut() {
                Some((slot, count)) if *slot == low => *count += by,
                _ => self.slots.push((low, by)),
            }
            total += u64::from(by);
            self.idle_at = rate.window.leaves(index) / 1_000_000 + 1;
        }
        let oldest = self.slots.first().map_or(index, |(slot, _)| index - u64::from(low.wrapping_sub(*slot)));
        Decision::new(rate, allowed, total, oldest, now)
    }

    #[expect(clippy::cast_possible_truncation, reason = "as in `count`")]
    fn give_back(&mut self, rate: Rate, now: DateTime<Utc>) {
        let low = rate.window.index(now).max(self.newest) as u32;
        if let Some(place) = self.slots.iter().position(|(slot, _)| *slot == low) {
            self.slots[place].1 -= 1;
            if self.slots[place].1 == 0 {
                self.slots.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::budget::{KeyedBy, Window};
    use super::*;
    use crate::platform::clock::Clock;

    fn caller(n: u32) -> Caller {
        Caller::address(std::net::Ipv4Addr::from_bits(n).into())
    }

    fn limit(limit: u32, window: Window) -> Limit {
        Limit { name: "test", rate: Rate { limit, window }, keyed_by: KeyedBy::Caller }
    }

    #[test]
    fn counter_full_frees_budget_gradually() {
        let (counters, clock, limit) = (Counters::default(), Clock::manual(), limit(2, Window::MINUTE));
        let hit = || counters.count(&limit, &caller(1), 1, clock.now());
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
    fn counter_refused_requests_do_not_extend_wait() {
        let (counters, clock, limit) = (Counters::default(), Clock::manual(), limit(1, Window::SECOND));
        let hit = || counters.count(&limit, &caller(1), 1, clock.now());
        assert!(hit().allowed);
        for _ in 0..50 {
            clock.advance(TimeDelta::milliseconds(10));
            assert!(!hit().allowed);
        }
        clock.advance(TimeDelta::milliseconds(510));
        assert!(hit().allowed);
    }

    #[test]
    fn counter_peek_counts_nothing_and_forget_resets() {
        let (counters, clock, limit) = (Counters::default(), Clock::manual(), limit(1, Window::QUARTER_HOUR));
        let count = |by| counters.count(&limit, &caller(1), by, clock.now()).allowed;
        assert!(count(0) && count(0) && count(1));
        assert!(!count(0) && !count(1));
        counters.forget(&limit, &caller(1));
        assert!(count(0));
    }

    fn kept(counters: &Counters) -> usize {
        counters.shards.iter().map(|shard| shard.lock().unwrap().windows.len()).sum()
    }

    #[test]
    fn counter_number_of_callers_is_bounded() {
        let (counters, clock, limit) = (Counters::default(), Clock::manual(), limit(1, Window::DAY));
        for n in 0..100_000 {
            counters.count(&limit, &caller(n), 0, clock.now());
        }
        assert_eq!(kept(&counters), 0, "a peek keeps nothing");
        for n in 0..100_000 {
            counters.count(&limit, &caller(n), 1, clock.now());
        }
        let kept = kept(&counters);
        assert!((SHARDS * SHARD_CAPACITY / 2..=SHARDS * SHARD_CAPACITY).contains(&kept), "{kept}");
    }

    #[test]
    fn counter_used_up_stays_when_others_fill_memory() {
        let (counters, clock, limit) = (Counters::default(), Clock::manual(), limit(10, Window::QUARTER_HOUR));
        for n in 0..1000 {
            counters.count(&limit, &caller(n % 100), 1, clock.now());
        }
        for n in 1_000..300_000 {
            counters.count(&limit, &caller(n), 1, clock.now());
        }
        assert!((0..100).all(|n| !counters.count(&limit, &caller(n), 0, clock.now()).allowed));
    }
}
