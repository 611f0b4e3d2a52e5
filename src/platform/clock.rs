//! Source of the current time. Services read it from `app.clock`, so that tests can control it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// The system clock, or a manual clock that moves only by [`Clock::advance`]. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    Manual(Arc<AtomicI64>),
    /// The system clock with a fixed offset, for tests in which the clocks of hosts differ.
    Wrong(TimeDelta),
}

impl Clock {
    /// Returns a manual clock that is set to the current time.
    pub fn manual() -> Self {
        Self::Manual(Arc::new(AtomicI64::new(Self::System.now().timestamp_micros())))
    }

    /// Returns the current time in UTC, truncated to microseconds: the precision of `timestamptz`, so that a value read back
    /// equals the one written.
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            #[expect(clippy::disallowed_methods, reason = "the one place that may ask the system")]
            Self::System => Utc::now().trunc_subsecs(6),
            Self::Wrong(by) => Self::System.now() + *by,
            Self::Manual(micros) => DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst)).unwrap_or_default(),
        }
    }

    /// Returns the time of a manual clock. `None` for the system clock: the clocks of hosts may differ, so times that hosts
    /// must agree on come from the database's clock.
    pub fn set_time(&self) -> Option<DateTime<Utc>> {
        matches!(self, Self::Manual(_)).then(|| self.now())
    }

    /// Moves a manual clock; does nothing to the system clock.
    pub fn advance(&self, by: TimeDelta) {
        if let Self::Manual(micros) = self {
            micros.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::SeqCst);
        }
    }
}
