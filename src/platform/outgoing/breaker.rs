//! Circuit breaker: a service that keeps failing is not called for a while. Its callers fail at once instead of waiting for
//! time-outs, and the service can recover.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
pub(super) struct Breaker {
    service: &'static str,
    inner: Mutex<Inner>,
    /// 0 closed, 1 half-open, 2 open.
    gauge: IntGauge,
}

/// State of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    HalfOpen,
    Open,
}

struct Inner {
    state: State,
    /// Number of times that the breaker has opened. The outcome of a call that began before it opened says nothing about the
    /// service now, so it is ignored.
    openings: u64,
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
#[must_use = "a call that is not noted counts as abandoned"]
pub struct Attempt {
    /// `None` for a service without a breaker.
    breaker: Option<Arc<Breaker>>,
    openings: u64,
    /// The call tests a half-open breaker and has no result yet.
    trial: bool,
    /// A trial that was counted as a success already.
    progressed: bool,
}

impl Breaker {
    pub fn new(service: &'static str, gauge: IntGauge) -> Self {
        gauge.set(0);
        Self { service, inner: Mutex::new(Inner { state: State::Closed { failures: 0 }, openings: 0 }), gauge }
    }

    pub fn state(&self) -> BreakerState {
        match self.lock().state {
            State::Closed { .. } => BreakerState::Closed,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
            State::Open { .. } => BreakerState::Open,
        }
    }

    /// Admits a call, or returns the time until the next call may be admitted.
    pub fn admit(self: &Arc<Self>) -> Result<Attempt, Duration> {
        let mut inner = self.lock();
        let trial = match inner.state {
            State::Closed { .. } => false,
            State::Open { since } => {
                let left = OPEN.saturating_sub(since.elapsed());
                if !left.is_zero() {
                    return Err(left);
                }
                self.set(&mut inner, State::HalfOpen { successes: 0, trying: true });
                true
            }
            State::HalfOpen { trying: true, .. } => return Err(Duration::from_secs(1)),
            State::HalfOpen { successes, trying: false } => {
                self.set(&mut inner, State::HalfOpen { successes, trying: true });
                true
            }
        };
        Ok(Attempt { breaker: Some(self.clone()), openings: inner.openings, trial, progressed: false })
    }

    /// Counts the outcome of a call in the present state.
    fn count(&self, inner: &mut Inner, ok: bool) {
        let next = match (inner.state, ok) {
            (State::Closed { failures }, false) if failures + 1 < FAILURES => State::Closed { failures: failures + 1 },
            (State::HalfOpen { successes, .. }, true) if successes + 1 < SUCCESSES => {
                State::HalfOpen { successes: successes + 1, trying: false }
            }
            (State::Closed { .. } | State::HalfOpen { .. }, true) => State::Closed { failures: 0 },
            (State::Closed { .. } | State::HalfOpen { .. }, false) => State::Open { since: Instant::now() },
            (State::Open { since }, _) => State::Open { since },
        };
        self.set(inner, next);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, inner: &mut Inner, new: State) {
        let before = std::mem::replace(&mut inner.state, new);
        self.gauge.set(match new {
            State::Closed { .. } => 0,
            State::HalfOpen { .. } => 1,
            State::Open { .. } => 2,
        });
        match (before, new) {
            (State::Open { .. }, State::Open { .. }) => {}
            (_, State::Open { .. }) => {
                inner.openings += 1;
                tracing::warn!(service = self.service, seconds = OPEN.as_secs(), "circuit breaker opened: the service keeps failing");
            }
            (State::HalfOpen { .. }, State::Closed { .. }) => {
                tracing::info!(service = self.service, "circuit breaker closed: the service works again");
            }
            _ => {}
        }
    }
}

impl Attempt {
    /// A call to a service without a breaker.
    pub(super) fn unguarded() -> Self {
        Self { breaker: None, openings: 0, trial: false, progressed: false }
    }

    /// The first bytes of a long answer have arrived. A trial counts as a success from now on, so that a stream of minutes does
    /// not keep the breaker half-open. The outcome of the whole call is still given by [`Attempt::note`].
    pub fn progressed(&mut self) {
        if !std::mem::take(&mut self.trial) {
            return;
        }
        self.progressed = true;
        self.count(true);
    }

    /// Notes how the call ended.
    pub fn note(mut self, ok: bool) {
        self.trial = false;
        if self.progressed && ok {
            // Counted already; in the closed state there is nothing to add.
            return;
        }
        self.count(ok);
    }

    fn count(&self, ok: bool) {
        let Some(breaker) = &self.breaker else { return };
        let mut inner = breaker.lock();
        if inner.openings == self.openings {
            breaker.count(&mut inner, ok);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let (true, Some(breaker)) = (self.trial, &self.breaker)
            && let State::HalfOpen { trying, .. } = &mut breaker.lock().state
        {
            *trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Arc<Breaker> {
        Arc::new(Breaker::new("x", IntGauge::new("x", "x").unwrap()))
    }

    fn open_breaker() -> Arc<Breaker> {
        let breaker = breaker();
        for _ in 0..FAILURES {
            assert_eq!(breaker.gauge.get(), 0);
            breaker.admit().unwrap().note(false);
        }
        assert_eq!((breaker.admit().err(), breaker.gauge.get(), breaker.state()), (Some(OPEN), 2, BreakerState::Open));
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_open_closes_after_two_successes() {
        let breaker = open_breaker();
        tokio::time::advance(OPEN).await;
        let first = breaker.admit().unwrap();
        assert!(breaker.admit().is_err(), "one call tries at a time");
        first.note(true);
        assert_eq!((breaker.gauge.get(), breaker.state()), (1, BreakerState::HalfOpen));
        breaker.admit().unwrap().note(true);
        assert_eq!((breaker.gauge.get(), breaker.state()), (0, BreakerState::Closed));
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
        let breaker = breaker();
        for n in 0..FAILURES * 3 {
            breaker.admit().unwrap().note(n % 3 == 0);
        }
        assert!(breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_calls_from_before_opening_are_ignored() {
        let breaker = breaker();
        let [lost, failed, fine] = [(); 3].map(|()| breaker.admit().unwrap());
        for _ in 0..FAILURES {
            breaker.admit().unwrap().note(false);
        }
        tokio::time::advance(OPEN).await;
        let trial = breaker.admit().unwrap();
        drop(lost);
        failed.note(false);
        fine.note(true);
        assert!(breaker.admit().is_err(), "the trial is still running");
        trial.note(true);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_progressed_trials_close_before_they_end() {
        let breaker = open_breaker();
        tokio::time::advance(OPEN).await;
        let mut streams = Vec::new();
        for _ in 0..SUCCESSES {
            let mut stream = breaker.admit().unwrap();
            stream.progressed();
            stream.progressed();
            streams.push(stream);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        // The ends of these streams count in the closed state.
        for stream in streams {
            stream.note(false);
        }
        for _ in 0..FAILURES - SUCCESSES {
            assert_eq!(breaker.state(), BreakerState::Closed);
            breaker.admit().unwrap().note(false);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_progressed_trial_counts_once() {
        let breaker = open_breaker();
        tokio::time::advance(OPEN).await;
        let mut first = breaker.admit().unwrap();
        first.progressed();
        first.note(true);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let mut second = breaker.admit().unwrap();
        let _third = breaker.admit().err().unwrap();
        second.progressed();
        second.note(false);
        assert_eq!(breaker.state(), BreakerState::Closed, "one failure after closing");
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_progressed_trial_that_breaks_opens_again() {
        let breaker = open_breaker();
        tokio::time::advance(OPEN).await;
        let mut first = breaker.admit().unwrap();
        first.progressed();
        first.note(false);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}
