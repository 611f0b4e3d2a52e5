//! A bounded in-process cache with a short time to live. A write invalidates its entry at once, on every instance that
//! shares Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::IntCounter;
use quick_cache::Weighter;

use crate::platform::redis::{Heard, Redis};
use crate::platform::telemetry::metrics::Metrics;

/// A value that a cache can hold. Cheap to clone.
pub trait Cached: Clone + Send + Sync + 'static {
    /// Bytes that it holds outside of itself (strings, boxes).
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl<T: Cached> Cached for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, T::heap_bytes)
    }
}

/// Values by text key, bounded in bytes and in age. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Cache<T: Cached>(Arc<Inner<T>>);

struct Inner<T: Cached> {
    entries: quick_cache::sync::Cache<Arc<str>, Entry<T>, Weight>,
    ttl: TimeDelta,
    invalidations: AtomicU64,
    /// The Redis channel that carries invalidated keys between instances.
    bus: Option<(Redis, String)>,
    hits: IntCounter,
    misses: IntCounter,
}

#[derive(Clone)]
struct Entry<T> {
    made: DateTime<Utc>,
    value: T,
}

#[derive(Clone)]
struct Weight;

/// Approximate overhead of the cache per entry, in bytes.
const OVERHEAD: usize = 48;

impl<T: Cached> Weighter<Arc<str>, Entry<T>> for Weight {
    fn weight(&self, key: &Arc<str>, entry: &Entry<T>) -> u64 {
        (OVERHEAD + key.len() + size_of::<Entry<T>>() + entry.value.heap_bytes()) as u64
    }
}

impl<T: Cached> Cache<T> {
    /// `name` is the label in metrics and the Redis channel.
    pub fn new(name: &str, max_bytes: u64, ttl: TimeDelta, metrics: &Metrics, redis: Option<Redis>) -> Self {
        let items = usize::try_from(max_bytes).unwrap_or(usize::MAX) / (OVERHEAD + 64 + size_of::<Entry<T>>());
        let cache = Self(Arc::new(Inner {
            entries: quick_cache::sync::Cache::with_weighter(items, max_bytes, Weight),
            ttl,
            invalidations: AtomicU64::new(0),
            bus: redis.map(|redis| (redis, format!("drop:{name}"))),
            hits: metrics.cache_hits.with_label_values(&[name]),
            misses: metrics.cache_misses.with_label_values(&[name]),
        }));
        cache.listen();
        cache
    }

    fn listen(&self) {
        let Some((redis, channel)) = &self.0.bus else { return };
        let cache = self.clone();
        redis.listen(channel, move |heard| match heard {
            // What was invalidated before is not known.
            Heard::Connected => cache.forget_all(),
            Heard::Message(key) => cache.forget(&key),
            Heard::Lost => {}
        });
    }

    /// Returns the value if it is there and not older than the TTL.
    pub fn get(&self, key: &str, now: DateTime<Utc>) -> Option<T> {
        match self.0.entries.get(key) {
            Some(entry) if now - entry.made < self.0.ttl => {
                self.0.hits.inc();
                Some(entry.value)
            }
            _ => {
                self.0.misses.inc();
                None
            }
        }
    }

    /// Returns the cached value, or loads it and keeps it. A value whose entry was invalidated while it was being loaded is
    /// returned but not kept: it may be older than the change.
    pub async fn get_or_load<E>(
        &self,
        key: &Arc<str>,
        now: DateTime<Utc>,
        load: impl AsyncFnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if let Some(value) = self.get(key, now) {
            return Ok(value);
        }
        let before = self.0.invalidations.load(Ordering::SeqCst);
        let value = load().await?;
        if self.0.invalidations.load(Ordering::SeqCst) == before {
            self.0.entries.insert(key.clone(), Entry { made: now, value: value.clone() });
            if self.0.invalidations.load(Ordering::SeqCst) != before {
                self.0.entries.remove(key);
            }
        }
        Ok(value)
    }

    /// Removes a key from this instance at once, and from the others when Redis delivers the message.
    pub fn invalidate(&self, key: &str) {
        self.forget(key);
        if let Some((redis, channel)) = &self.0.bus {
            redis.publish(channel, key.to_owned());
        }
    }

    fn forget(&self, key: &str) {
        self.0.invalidations.fetch_add(1, Ordering::SeqCst);
        self.0.entries.remove(key);
    }

    fn forget_all(&self) {
        self.0.invalidations.fetch_add(1, Ordering::SeqCst);
        self.0.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::platform::clock::Clock;

    impl Cached for u32 {}

    fn cache(max_bytes: u64) -> Cache<u32> {
        Cache::new("test", max_bytes, TimeDelta::seconds(5), &Metrics::default(), None)
    }

    #[tokio::test]
    async fn cache_value_invalidated_during_load_is_not_kept() {
        let (clock, cache, key) = (Clock::manual(), cache(10_000), Arc::from("k"));
        let loaded = cache.get_or_load(&key, clock.now(), async || {
            cache.forget("k");
            Ok::<_, Infallible>(1)
        });
        assert_eq!((loaded.await, cache.get("k", clock.now())), (Ok(1), None));
        let loaded = cache.get_or_load(&key, clock.now(), async || Ok::<_, Infallible>(2));
        assert_eq!((loaded.await, cache.get("k", clock.now())), (Ok(2), Some(2)));
        clock.advance(TimeDelta::seconds(5));
        assert_eq!(cache.get("k", clock.now()), None);
    }

    #[tokio::test]
    async fn cache_weight_is_bounded() {
        let (clock, cache) = (Clock::manual(), cache(100_000));
        for n in 0..10_000_u32 {
            let _ = cache.get_or_load(&n.to_string().into(), clock.now(), async || Ok::<_, Infallible>(n)).await;
        }
        assert!(cache.0.entries.weight() <= 100_000 && cache.0.entries.len() > 500, "{}", cache.0.entries.len());
    }
}
