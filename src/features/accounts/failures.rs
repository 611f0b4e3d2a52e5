//! Failed log-ins of one account from all addresses: after 50 within an hour, log-ins from unknown addresses have to wait.

use chrono::{DateTime, TimeDelta, Utc};

/// Failures within [`WINDOW`] from which on log-ins have to wait.
const LIMIT: usize = 50;
const WINDOW: TimeDelta = TimeDelta::hours(1);
/// The first wait; each further failure doubles it.
const FIRST_WAIT: TimeDelta = TimeDelta::minutes(1);
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(15);
/// Minimum time between two mails about it.
const ALERT_INTERVAL: TimeDelta = TimeDelta::hours(24);

/// The state of one account.
#[derive(Debug, Clone, Default, sqlx::FromRow)]
pub struct Failures {
    /// Unix seconds of the newest failures within the window, at most [`LIMIT`], oldest first, separated by commas.
    pub failed_at: String,
    /// Waits so far, without a break.
    pub waits: i64,
    pub wait_until: Option<DateTime<Utc>>,
    pub alerted_at: Option<DateTime<Utc>>,
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Recorded {
    Counted,
    /// It was one too many: log-ins wait from now on. `alert`: the owner is to be told.
    Waits {
        seconds: u64,
        alert: bool,
    },
    /// It came while log-ins had to wait, and is not counted.
    WhileWaiting {
        seconds: u64,
    },
}

impl Failures {
    /// Returns the seconds until the next log-in from an unknown address; `None` if there is no wait.
    pub fn wait(&self, now: DateTime<Utc>) -> Option<u64> {
        let left = (self.wait_until? - now).num_microseconds().and_then(|micros| u64::try_from(micros).ok())?;
        (left > 0).then(|| left.div_ceil(1_000_000))
    }

    /// Adds a failure.
    pub fn record(&mut self, now: DateTime<Utc>) -> Recorded {
        if let Some(seconds) = self.wait(now) {
            return Recorded::WhileWaiting { seconds };
        }
        let oldest = (now - WINDOW).timestamp();
        let mut times: Vec<i64> = self.failed_at.split(',').filter_map(|time| time.parse().ok()).filter(|time| *time > oldest).collect();
        times.push(now.timestamp());
        let times = &times[times.len().saturating_sub(LIMIT)..];
        self.failed_at = times.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        if times.len() < LIMIT {
            (self.waits, self.wait_until) = (0, None);
            return Recorded::Counted;
        }
        let doublings = u32::try_from(self.waits.clamp(0, 10)).unwrap_or(0);
        let wait = (FIRST_WAIT * 2_i32.pow(doublings)).min(LONGEST_WAIT);
        (self.waits, self.wait_until) = (self.waits + 1, Some(now + wait));
        let alert = self.alerted_at.is_none_or(|at| now - at >= ALERT_INTERVAL);
        if alert {
            self.alerted_at = Some(now);
        }
        Recorded::Waits { seconds: wait.num_seconds().unsigned_abs(), alert }
    }

    /// Returns when nothing of it matters any more.
    pub fn expires_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.alerted_at.map_or(now, |at| at + ALERT_INTERVAL).max(now + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn failures_within_an_hour_make_waits_that_double() {
        let (mut failures, mut now) = (Failures::default(), 0);
        for n in 0..49 {
            now = n;
            assert_eq!((failures.record(at(now)), failures.wait(at(now))), (Recorded::Counted, None));
        }
        let mut waits = Vec::new();
        for n in 0..6 {
            now += 1;
            let Recorded::Waits { seconds, alert } = failures.record(at(now)) else { panic!("{failures:?}") };
            assert_eq!(alert, n == 0);
            assert_eq!(failures.wait(at(now)), Some(seconds));
            assert_eq!(failures.record(at(now + 1)), Recorded::WhileWaiting { seconds: seconds - 1 });
            waits.push(seconds);
            now += i64::try_from(seconds).unwrap();
            assert_eq!(failures.wait(at(now)), None);
        }
        assert_eq!(waits, [60, 120, 240, 480, 900, 900]);
        assert!(failures.failed_at.len() < 600, "bounded");
    }

    #[test]
    fn failures_that_left_the_window_do_not_count() {
        let mut failures = Failures::default();
        for n in 0..500 {
            assert_eq!(failures.record(at(n * 74)), Recorded::Counted, "{n}");
        }
        let mut failures = Failures::default();
        for _ in 0..50 {
            failures.record(at(0));
        }
        assert_eq!(failures.waits, 1);
        assert_eq!(failures.record(at(3600)), Recorded::Counted);
        assert_eq!(failures.waits, 0);
    }

    #[test]
    fn failures_alert_at_most_once_a_day() {
        let (mut failures, mut alerts) = (Failures::default(), 0);
        for minute in 0..2 * 24 * 60 {
            for _ in 0..60 {
                alerts += i32::from(matches!(failures.record(at(minute * 60)), Recorded::Waits { alert: true, .. }));
            }
            assert!(failures.expires_at(at(minute * 60)) >= at(minute * 60 + 3600));
        }
        assert_eq!(alerts, 2);
    }
}
