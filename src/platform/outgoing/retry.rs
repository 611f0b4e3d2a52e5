//! The one retry layer of outgoing calls: exponential back-off with jitter, obeys `Retry-After`, bounded by a deadline.
//!
//! Only for calls that may be repeated: reads, idempotent writes, and calls with an idempotency key. A second layer around this
//! one would multiply the attempts, so clients with retries of their own (SDKs) have them turned off.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep};

use super::error::CallError;

/// How often, and until when, a call is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Attempts after the first one.
    pub times: usize,
    /// No pause and no attempt goes beyond this time. The attempts themselves must end by it, too.
    pub until: Instant,
    /// Pause before the first repetition, doubled for each further one; jitter adds up to as much again.
    pub first_pause: Duration,
    /// Longest `Retry-After` that is waited for. A longer one ends the call, and is left to the caller.
    pub longest_retry_after: Duration,
}

impl Retry {
    /// Up to two repetitions until `until`, after short pauses.
    pub fn until(until: Instant) -> Self {
        Self { times: 2, until, first_pause: Duration::from_millis(100), longest_retry_after: Duration::from_secs(2) }
    }
}

/// A failed attempt.
pub trait Repeatable {
    /// Whether the same call may succeed later.
    fn may_be_repeated(&self) -> bool;

    /// The pause that the vendor asks for.
    fn retry_after(&self) -> Option<Duration>;
}

impl Repeatable for CallError {
    fn may_be_repeated(&self) -> bool {
        self.is_outage()
    }

    fn retry_after(&self) -> Option<Duration> {
        CallError::retry_after(self)
    }
}

/// Runs a call, and runs it again after failures that may be repeated. Returns the last failure.
///
/// Takes `|| async { … }`: the future of an async closure that borrows is not provably `Send`
/// ([rust-lang/rust#110338](https://github.com/rust-lang/rust/issues/110338)).
pub async fn repeat<T, E, F>(retry: Retry, mut attempt: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Repeatable,
{
    let pauses = ExponentialBuilder::new().with_min_delay(retry.first_pause).with_max_times(retry.times).with_jitter();
    let mut pauses = pauses.build();
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let wanted = error.retry_after().unwrap_or_default();
        if !error.may_be_repeated() || wanted > retry.longest_retry_after {
            return Err(error);
        }
        let Some(pause) = pauses.next() else { return Err(error) };
        // On top of what the vendor asked for, because it asks all clients for the same time.
        let pause = wanted + pause;
        if Instant::now() + pause >= retry.until {
            return Err(error);
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Failed {
        again: bool,
        after: Option<Duration>,
    }

    impl Repeatable for Failed {
        fn may_be_repeated(&self) -> bool {
            self.again
        }

        fn retry_after(&self) -> Option<Duration> {
            self.after
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs a call that always fails; returns the number of attempts and the time they took.
    async fn failing(retry: Retry, again: bool, after: Option<Duration>) -> (usize, Duration) {
        let (mut attempts, started) = (0, Instant::now());
        let call = || {
            attempts += 1;
            async move { Err(Failed { again, after }) }
        };
        let outcome: Result<(), _> = repeat(retry, call).await;
        assert_eq!(outcome, Err(Failed { again, after }));
        (attempts, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn retry_pauses_double_with_jitter() {
        let mut totals = Vec::new();
        for _ in 0..20 {
            let (attempts, took) = failing(Retry::until(Instant::now() + 60 * SECOND), true, None).await;
            assert_eq!(attempts, 3);
            assert!(took >= Duration::from_millis(300) && took <= Duration::from_millis(610), "{took:?}");
            totals.push(took);
        }
        totals.dedup();
        assert!(totals.len() > 1, "no jitter");
    }

    #[tokio::test(start_paused = true)]
    async fn retry_obeys_retry_after() {
        let (attempts, took) = failing(Retry::until(Instant::now() + 60 * SECOND), true, Some(2 * SECOND)).await;
        assert_eq!(attempts, 3);
        assert!(took >= 4 * SECOND && took < 5 * SECOND, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_beyond_limit_ends_at_once() {
        let retry = Retry::until(Instant::now() + 60 * SECOND);
        assert_eq!(failing(retry, true, Some(3 * SECOND)).await, (1, Duration::ZERO));
        let (attempts, _) = failing(Retry { longest_retry_after: 9 * SECOND, ..retry }, true, Some(3 * SECOND)).await;
        assert_eq!(attempts, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_pause_beyond_deadline_is_not_started() {
        let (attempts, took) = failing(Retry::until(Instant::now() + 3 * SECOND), true, Some(2 * SECOND)).await;
        assert_eq!(attempts, 2);
        assert!(took < 3 * SECOND, "{took:?}");
        assert_eq!(failing(Retry::until(Instant::now()), true, None).await, (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_final_failure_is_not_repeated() {
        let retry = Retry::until(Instant::now() + 60 * SECOND);
        assert_eq!(failing(retry, false, None).await, (1, Duration::ZERO));
        assert_eq!(failing(Retry { times: 0, ..retry }, true, None).await, (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_ends_with_first_success() {
        let mut attempts = 0;
        let retry = Retry::until(Instant::now() + 60 * SECOND);
        let call = || {
            attempts += 1;
            std::future::ready(if attempts == 2 { Ok(attempts) } else { Err(Failed { again: true, after: None }) })
        };
        assert_eq!(repeat(retry, call).await, Ok(2));
    }
}
