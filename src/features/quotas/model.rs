//! The period of a monthly quota, and the plan of a user as other features see it.

use std::fmt;

use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime, Utc};

/// The plan that counts for a user, with the limits of what is recorded as usage. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserPlan {
    pub name: &'static str,
    /// A month.
    pub api_calls: Option<i64>,
    /// A month.
    pub ai_requests: Option<i64>,
    /// MiB at any time.
    pub storage_mb: Option<i64>,
}

/// A calendar month in UTC, displayed as `2026-11`. The text sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    first_day: NaiveDate,
}

impl Month {
    /// The month of an instant. The first instant of a month belongs to that month.
    pub fn of(at: DateTime<Utc>) -> Self {
        let day = at.date_naive();
        Self { first_day: day.with_day(1).unwrap_or(day) }
    }

    /// The first instant.
    pub fn start(self) -> DateTime<Utc> {
        self.first_day.and_time(NaiveTime::MIN).and_utc()
    }

    pub fn previous(self) -> Self {
        Self { first_day: self.first_day - Months::new(1) }
    }

    /// The first instant of the next month.
    pub fn end(self) -> DateTime<Utc> {
        (self.first_day + Months::new(1)).and_time(NaiveTime::MIN).and_utc()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first_day.format("%Y-%m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn month_begins_with_its_first_instant_and_ends_before_next() {
        for (at, name, end) in [
            ("2026-11-01T00:00:00Z", "2026-11", "2026-12-01T00:00:00Z"),
            ("2026-12-31T23:59:59.999999Z", "2026-12", "2027-01-01T00:00:00Z"),
            ("2027-01-01T00:00:00Z", "2027-01", "2027-02-01T00:00:00Z"),
            ("2028-02-29T12:00:00Z", "2028-02", "2028-03-01T00:00:00Z"),
        ] {
            let month = Month::of(at.parse().unwrap());
            assert_eq!((month.to_string().as_str(), month.end()), (name, end.parse().unwrap()), "{at}");
            assert_eq!((Month::of(month.start()), Month::of(month.end()).previous()), (month, month), "{at}");
        }
    }
}
