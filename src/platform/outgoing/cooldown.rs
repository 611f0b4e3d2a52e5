//! Cool-down: the time for which a vendor asked not to be called (429 with `Retry-After`), for each thing that it limits, such
//! as a model. It does not touch the circuit breaker, because a vendor that limits us is not failing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Longest cool-down. Vendors ask for hours where a quota of the day is used up; a call now and then finds out when it is not.
const LONGEST: Duration = Duration::from_secs(60);
/// Names that are kept at a time. They can come from callers, so their number must be bounded.
const MOST: usize = 256;

/// The cool-downs of one vendor, by the name of what is cooling.
#[derive(Default)]
pub(super) struct CoolDowns(Mutex<HashMap<String, Instant>>);

impl CoolDowns {
    /// Cools for this long from now, or until the end of an earlier, longer pause.
    pub fn add(&self, what: &str, pause: Duration) {
        let now = Instant::now();
        let until = now + pause.min(LONGEST);
        let mut ends = self.lock();
        if let Some(end) = ends.get_mut(what) {
            *end = until.max(*end);
            return;
        }
        if ends.len() >= MOST {
            ends.retain(|_, end| *end > now);
        }
        if ends.len() < MOST {
            ends.insert(what.to_owned(), until);
        }
    }

    /// The time until it may be called again; `None` if it may be called now.
    pub fn left(&self, what: &str) -> Option<Duration> {
        let left = self.lock().get(what)?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Number of names that are cooling.
    pub fn count(&self) -> usize {
        let now = Instant::now();
        self.lock().values().filter(|end| **end > now).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn cool_down_lasts_until_latest_of_all_pauses() {
        let cooling = CoolDowns::default();
        cooling.add("a", 10 * SECOND);
        cooling.add("a", 3 * SECOND);
        assert_eq!((cooling.left("a"), cooling.left("b")), (Some(10 * SECOND), None));
        advance(5 * SECOND).await;
        cooling.add("a", 20 * SECOND);
        assert_eq!((cooling.left("a"), cooling.count()), (Some(20 * SECOND), 1));
        advance(20 * SECOND).await;
        assert_eq!((cooling.left("a"), cooling.count()), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn cool_down_is_a_minute_at_most() {
        let cooling = CoolDowns::default();
        cooling.add("a", 3600 * SECOND);
        assert_eq!(cooling.left("a"), Some(LONGEST));
    }

    #[tokio::test(start_paused = true)]
    async fn cool_downs_of_many_names_are_bounded() {
        let cooling = CoolDowns::default();
        for n in 0..=MOST {
            cooling.add(&n.to_string(), SECOND);
        }
        assert_eq!((cooling.count(), cooling.left(&MOST.to_string())), (MOST, None));
        advance(SECOND).await;
        cooling.add("later", SECOND);
        assert_eq!((cooling.count(), cooling.lock().len()), (1, 1), "ended ones make room");
    }
}
