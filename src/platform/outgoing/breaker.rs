//! Circuit breaker: a service that keeps failing is not called for a while. Its callers fail at once instead of waiting for
//! time-outs, and the service can recover.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::time::Instant;

/// Consecutive failures that open the breaker.
const FAILURES: u32 = 5;
/// Time in the open state; then single calls test the service.
const OPEN: Duration = Duration::from_secs(30);
/// Consecutive successes that close the breaker.
const SUCCESSES: u32 = 2;

/// The breaker of one service.
pub struct Breaker {
    state: Mutex<State>,
    /// 0 closed, 1 half-open, 2 open.
    gauge: IntGauge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        since: Instant,
    },
    /// One call at a time tests whether the service works again.
    HalfOpen {
        successes: u32,
        trying: bool,
    },
}

/// An admitted call. If it is dropped without [`Attempt::note`], because its caller has gone, it counts neither as a success
/// nor as a failure.
pub struct Attempt<'b> {
    breaker: &'b Breaker,
    noted: bool,
}

impl Breaker {
    pub fn new(gauge: IntGauge) -> Self {
        gauge.set(0);
        Self { state: Mutex::new(State::Closed { failures: 0 }), gauge }
    }

    /// Admits a call, or returns the time until the next call may be admitted.
    pub fn admit(&self) -> Result<Attempt<'_>, Duration> {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => {}
            State::Open { since } => {
                let left = OPEN.saturating_sub(since.elapsed());
                if !left.is_zero() {
                    return Err(left);
                }
                self.set(&mut state, State::HalfOpen { successes: 0, trying: true });
            }
            State::HalfOpen { trying: true, .. } => return Err(Duration::from_secs(1)),
            State::HalfOpen { successes, trying: false } => self.set(&mut state, State::HalfOpen { successes, trying: true }),
        }
        Ok(Attempt { breaker: self, noted: false })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: &mut State, new: State) {
        *state = new;
        self.gauge.set(match new {
            State::Closed { .. } => 0,
            State::HalfOpen { .. } => 1,
            State::Open { .. } => 2,
        });
    }
}

impl Attempt<'_> {
    /// Notes how the call ended.
    pub fn note(mut self, ok: bool) {
        self.noted = true;
        let mut state = self.breaker.lock();
        let next = match (*state, ok) {
            (State::Closed { failures }, false) if failures + 1 < FAILURES => State::Closed { failures: failures + 1 },
            (State::HalfOpen { successes, .. }, true) if successes + 1 < SUCCESSES => {
                State::HalfOpen { successes: successes + 1, trying: false }
            }
            (State::Closed { .. } | State::HalfOpen { .. }, true) => State::Closed { failures: 0 },
            (State::Closed { .. } | State::HalfOpen { .. }, false) => State::Open { since: Instant::now() },
            // The call began before the breaker opened.
            (State::Open { since }, _) => State::Open { since },
        };
        self.breaker.set(&mut state, next);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.noted
            && let State::HalfOpen { trying, .. } = &mut *self.breaker.lock()
        {
            *trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_breaker() -> Breaker {
        let breaker = Breaker::new(IntGauge::new("x", "x").unwrap());
        for _ in 0..FAILURES {
            assert_eq!(breaker.gauge.get(), 0);
            breaker.admit().unwrap().note(false);
        }
        assert_eq!((breaker.admit().err(), breaker.gauge.get()), (Some(OPEN), 2));
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_open_closes_after_two_successes() {
        let breaker = open_breaker();
        tokio::time::advance(OPEN).await;
        let first = breaker.admit().unwrap();
        assert!(breaker.admit().is_err(), "one call tries at a time");
        first.note(true);
        assert_eq!(breaker.gauge.get(), 1);
        breaker.admit().unwrap().note(true);
        assert_eq!(breaker.gauge.get(), 0);
        assert!(breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_failed_trial_opens_again() {
        let breaker = open_breaker();
        tokio::time::advance(OPEN).await;
        breaker.admit().unwrap().note(false);
        assert_eq!(breaker.admit().err(), Some(OPEN));
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_dropped_trial_frees_next_one() {
        let breaker = open_breaker();
        tokio::time::advance(OPEN).await;
        drop(breaker.admit().unwrap());
        assert!(breaker.admit().is_ok());
    }

    #[tokio::test]
    async fn breaker_success_resets_failures() {
        let breaker = Breaker::new(IntGauge::new("x", "x").unwrap());
        for n in 0..FAILURES * 3 {
            breaker.admit().unwrap().note(n % 3 == 0);
        }
        assert!(breaker.admit().is_ok());
    }
}
