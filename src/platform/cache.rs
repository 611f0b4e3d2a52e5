//! A small cache of short life, whose entries every write drops at once, on all instances that share Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::IntCounter;

use crate::platform::redis::Redis;
use crate::platform::telemetry::metrics::METRICS;

/// Values by text key. Bounded in number and in age.
#[derive(Clone)]
pub struct Cache<T: Clone + Send + Sync + 'static>(Arc<Inner<T>>);

struct Inner<T: Clone + Send + Sync + 'static> {
    entries: moka::sync::Cache<Arc<str>, (DateTime<Utc>, T)>,
    life: TimeDelta,
    drops: AtomicU64,
    /// Where instances tell each other what to forget, and the channel they do it on.
    #[cfg(feature = "redis")]
    bus: Option<(Redis, String)>,
    hits: IntCounter,
    misses: IntCounter,
}

/// A moment to which a value that is being read belongs; see [`Cache::put`].
#[derive(Clone, Copy)]
pub struct Epoch(u64);

impl<T: Clone + Send + Sync + 'static> Cache<T> {
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "there is no Redis in this build"))]
    pub fn new(name: &str, capacity: u64, life: TimeDelta, redis: Option<Redis>) -> Self {
        let cache = Self(Arc::new(Inner {
            entries: moka::sync::Cache::new(capacity),
            life,
            drops: AtomicU64::new(0),
            #[cfg(feature = "redis")]
            bus: redis.map(|redis| (redis, format!("drop:{name}"))),
            hits: METRICS.cache_hits.with_label_values(&[name]),
            misses: METRICS.cache_misses.with_label_values(&[name]),
        }));
        cache.listen();
        cache
    }

    #[cfg(feature = "redis")]
    fn listen(&self) {
        if let Some((redis, channel)) = &self.0.bus {
            let (all, one) = (self.clone(), self.clone());
            redis.listen(channel, move || all.forget_all(), move |key| one.forget(&key));
        }
    }

    #[cfg(not(feature = "redis"))]
    fn listen(&self) {}

    pub fn get(&self, key: &str, now: DateTime<Utc>) -> Option<T> {
        match self.0.entries.get(key) {
            Some((made, value)) if now - made < self.0.life => {
                self.0.hits.inc();
                Some(value)
            }
            _ => {
                self.0.misses.inc();
                None
            }
        }
    }

    /// To be taken before the value is read from its source.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.0.drops.load(Ordering::SeqCst))
    }

    /// Keeps a value, unless something was dropped since `epoch`: then it may be older than that drop.
    pub fn put(&self, key: &Arc<str>, value: T, epoch: Epoch, now: DateTime<Utc>) {
        if self.0.drops.load(Ordering::SeqCst) == epoch.0 {
            self.0.entries.insert(key.clone(), (now, value));
            if self.0.drops.load(Ordering::SeqCst) != epoch.0 {
                self.0.entries.invalidate(key);
            }
        }
    }

    /// Forgets a key here at once, and on the other instances as soon as Redis has told them.
    pub fn drop_everywhere(&self, key: &str) {
        self.forget(key);
        #[cfg(feature = "redis")]
        if let Some((redis, channel)) = &self.0.bus {
            redis.publish(channel, key.to_owned());
        }
    }

    fn forget(&self, key: &str) {
        self.0.drops.fetch_add(1, Ordering::SeqCst);
        self.0.entries.invalidate(key);
    }

    #[cfg(feature = "redis")]
    fn forget_all(&self) {
        self.0.drops.fetch_add(1, Ordering::SeqCst);
        self.0.entries.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::clock::Clock;

    #[test]
    fn a_value_read_before_a_drop_is_not_kept_after_it() {
        let (clock, cache) = (Clock::manual(), Cache::new("test", 10, TimeDelta::seconds(5), None));
        let before = cache.epoch();
        cache.forget("k");
        cache.put(&"k".into(), 1, before, clock.now());
        assert_eq!(cache.get("k", clock.now()), None);
        cache.put(&"k".into(), 2, cache.epoch(), clock.now());
        assert_eq!(cache.get("k", clock.now()), Some(2));
        clock.advance(TimeDelta::seconds(5));
        assert_eq!(cache.get("k", clock.now()), None);
    }
}
