//! Reports of usage, and the rules of their times.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::platform::crypto;
use crate::platform::id::{Id, Resource, UserId};

pub type ReportId = Id<Report>;

impl Resource for Report {
    const NAME: &'static str = "UsageReport";
}

/// Stripe takes usage of the last 35 days.
pub const WINDOW: TimeDelta = TimeDelta::days(35);
/// Stripe knows identifiers again for 24 hours. A little less, because a call takes time.
pub const REMEMBERED: TimeDelta = TimeDelta::minutes(24 * 60 - 10);
/// Time in which a customer's refused usage is not reported again.
pub const AFTER_REFUSAL: TimeDelta = TimeDelta::hours(24);
const DAY: TimeDelta = TimeDelta::days(1);
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(60);
/// A little less than an hour, so that hourly rounds do not miss every second attempt.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(55);

/// A report that waits for its answer. Nothing of what is sent ever changes.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Report {
    pub id: ReportId,
    pub user_id: UserId,
    pub stripe_customer_id: String,
    pub metric: String,
    pub event_name: String,
    pub day: DateTime<Utc>,
    pub value: i64,
    pub reported_at: DateTime<Utc>,
    pub identifier: String,
    pub attempts: i64,
    /// The first attempt that may have been counted although it was not answered.
    pub first_sent_at: Option<DateTime<Utc>>,
}

impl Report {
    /// The first instant after the day.
    pub fn day_end(&self) -> DateTime<Utc> {
        self.day + DAY
    }

    /// Whether Stripe no longer takes it.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.reported_at < now - WINDOW
    }

    /// When to try again after the attempt that follows: the pause doubles.
    pub fn next_attempt(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let doubled = i32::try_from(self.attempts).ok().and_then(|attempts| 1_i32.checked_shl(attempts.clamp(0, 20).unsigned_abs()));
        now + doubled.map_or(LONGEST_PAUSE, |factor| (FIRST_PAUSE * factor).min(LONGEST_PAUSE))
    }
}

/// What a user used on a day, beyond the reports that there are.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Unreported {
    pub user_id: UserId,
    pub stripe_customer_id: String,
    pub day: DateTime<Utc>,
    /// First instant after the day.
    pub day_end: DateTime<Utc>,
    pub value: i64,
    /// Number of the next report of the day.
    pub number: i64,
}

impl Unreported {
    /// The time that is told to Stripe, in whole seconds: now, or the last second of a day that is over. `None` if Stripe would
    /// not take it.
    pub fn reported_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let at = now.trunc_subsecs(0).min(self.day_end - TimeDelta::seconds(1));
        (at >= self.day && at >= now - WINDOW).then_some(at)
    }

    /// The same for the same report, and for no other. The customer is part of it, because a user who was erased may come back.
    pub fn identifier(&self, metric: &str) -> String {
        let (day, number) = (self.day.timestamp().to_be_bytes(), self.number.to_be_bytes());
        let parts = [self.user_id.as_str().as_bytes(), self.stripe_customer_id.as_bytes(), metric.as_bytes(), &day, &number];
        format!("omnistack-usage-{}", crypto::hex(&crypto::hash(&parts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn unreported(day: &str) -> Unreported {
        let day = time(&format!("{day}T00:00:00Z"));
        let user_id = UserId::parse("ada").unwrap();
        Unreported { user_id, stripe_customer_id: "cus_1".to_owned(), day, day_end: day + DAY, value: 1, number: 1 }
    }

    #[test]
    fn reported_time_lies_within_the_day() {
        for (day, now, at) in [
            ("2026-02-28", "2026-02-28T00:00:00.9Z", Some("2026-02-28T00:00:00Z")),
            ("2026-02-28", "2026-02-28T15:04:05.123456Z", Some("2026-02-28T15:04:05Z")),
            ("2026-02-28", "2026-02-28T23:59:59.999999Z", Some("2026-02-28T23:59:59Z")),
            ("2026-02-28", "2026-03-01T00:00:00Z", Some("2026-02-28T23:59:59Z")),
            ("2024-02-29", "2024-03-01T00:00:00Z", Some("2024-02-29T23:59:59Z")),
            ("2026-12-31", "2027-01-01T01:00:00Z", Some("2026-12-31T23:59:59Z")),
            ("2026-12-31", "2027-02-04T23:59:59Z", Some("2026-12-31T23:59:59Z")),
            ("2026-12-31", "2027-02-05T00:00:00Z", None),
            // By the clock of another instance, the next day has begun.
            ("2026-03-01", "2026-02-28T23:59:59.5Z", None),
        ] {
            assert_eq!(unreported(day).reported_at(time(now)), at.map(time), "{day} {now}");
        }
    }

    #[test]
    fn identifier_belongs_to_one_report() {
        let report = unreported("2026-02-28");
        let identifier = report.identifier("ai_tokens");
        assert!(identifier.len() <= 100 && identifier == report.clone().identifier("ai_tokens"), "{identifier}");
        let others = [
            unreported("2026-03-01").identifier("ai_tokens"),
            report.identifier("ai_requests"),
            Unreported { number: 2, ..report.clone() }.identifier("ai_tokens"),
            Unreported { stripe_customer_id: "cus_2".to_owned(), ..report }.identifier("ai_tokens"),
        ];
        assert!(!others.contains(&identifier));
    }

    #[test]
    fn pause_doubles_up_to_its_cap() {
        let now = time("2026-02-28T00:00:00Z");
        let pause = |attempts| {
            let report = Report {
                id: ReportId::new(),
                user_id: UserId::parse("ada").unwrap(),
                stripe_customer_id: String::new(),
                metric: String::new(),
                event_name: String::new(),
                day: now,
                value: 1,
                reported_at: now,
                identifier: String::new(),
                attempts,
                first_sent_at: None,
            };
            (report.next_attempt(now) - now).num_minutes()
        };
        assert_eq!([0, 1, 2, 5, 6, 31, 32, i64::MAX].map(pause), [1, 2, 4, 32, 55, 55, 55, 55]);
    }
}
