//! The id of an event: a place in the user's events, and the time until which the client has all of them.

use std::fmt;

use chrono::{DateTime, Utc};

/// Sent as `<number>-<Unix seconds>`. The time tells an id that is too old, even if the rows after it are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub seq: i64,
    pub at: i64,
}

impl Position {
    pub fn new(seq: i64, at: DateTime<Utc>) -> Self {
        Self { seq, at: at.timestamp() }
    }

    /// Reads an id as it is written; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, at) = text.split_once('-')?;
        let position = Self { seq: seq.parse().ok()?, at: at.parse().ok()? };
        (position.to_string() == text && position.seq >= 0).then_some(position)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seq, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_read_only_as_it_is_written() {
        let position = Position { seq: 12, at: 1_764_330_000 };
        assert_eq!((position.to_string().as_str(), Position::parse("12-1764330000")), ("12-1764330000", Some(position)));
        for other in ["", "12", "12-", "-12-5", "+12-5", "012-5", "12-5 ", "12-x", "99999999999999999999-5", "12-5-5", "١-5"] {
            assert_eq!(Position::parse(other), None, "{other}");
        }
    }
}
