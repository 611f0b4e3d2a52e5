//! The rate limit of one connection: a bucket of tokens that fills again.

use std::time::Duration;

use tokio::time::Instant;

/// Interval of errors about dropped frames.
const NOTICE: Duration = Duration::from_secs(1);

pub struct Rate {
    per_second: u32,
    /// Frames that may come now.
    tokens: f64,
    filled: Instant,
    noticed: Option<Instant>,
}

impl Rate {
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, tokens: Self::burst(per_second), filled: now, noticed: None }
    }

    fn burst(per_second: u32) -> f64 {
        f64::from(per_second) * 2.0
    }

    pub fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Counts a frame; returns whether it is within the limit.
    pub fn take(&mut self, now: Instant) -> bool {
        let filled = now.saturating_duration_since(self.filled).as_secs_f64() * f64::from(self.per_second);
        self.tokens = (self.tokens + filled).min(Self::burst(self.per_second));
        self.filled = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Whether the client is to be told that a frame was dropped: at most once a second.
    pub fn notices(&mut self, now: Instant) -> bool {
        if self.noticed.is_some_and(|noticed| now.saturating_duration_since(noticed) < NOTICE) {
            return false;
        }
        self.noticed = Some(now);
        true
    }

    /// The time in which one more frame may come.
    pub fn pause(&self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn burst_is_twice_the_rate_and_fills_again() {
        let start = Instant::now();
        let mut rate = Rate::new(50, start);
        let taken = (0..500).filter(|_| rate.take(start)).count();
        assert_eq!(taken, 100);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..500).filter(|_| rate.take(later)).count(), 25);
        assert_eq!((0..500).filter(|_| rate.take(later + Duration::from_secs(3600))).count(), 100);
        assert!(rate.notices(later) && !rate.notices(later) && rate.notices(later + NOTICE));
    }
}
