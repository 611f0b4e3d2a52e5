//! The one source of "now". Services take it from `app.clock`, so that a test can move time by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A clock that is cheap to clone: the system's, or one that only moves when told to.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    Manual(Arc<AtomicI64>),
    /// The system's on a host that is wrong by this much, for tests of what hosts must agree on.
    Wrong(TimeDelta),
}

impl Clock {
    /// A clock that stands at the present moment until [`Clock::advance`] moves it.
    pub fn manual() -> Self {
        Self::Manual(Arc::new(AtomicI64::new(Self::System.now().timestamp_micros())))
    }

    /// The present moment in UTC, cut to microseconds: what `timestamptz` can hold, so that a value
    /// read back equals the one written.
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            #[expect(clippy::disallowed_methods, reason = "the one place that may ask the system")]
            Self::System => Utc::now().trunc_subsecs(6),
            Self::Wrong(by) => Self::System.now() + *by,
            Self::Manual(micros) => DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst)).unwrap_or_default(),
        }
    }

    /// The time of a clock that is set by hand. `None` where the system's rules: then several hosts may differ, and
    /// what they must agree on goes by the database's clock.
    pub fn set_time(&self) -> Option<DateTime<Utc>> {
        matches!(self, Self::Manual(_)).then(|| self.now())
    }

    /// Moves a manual clock; the system's is not ours to move and stays.
    pub fn advance(&self, by: TimeDelta) {
        if let Self::Manual(micros) = self {
            micros.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::SeqCst);
        }
    }
}
