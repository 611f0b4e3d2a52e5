//! Lists: pages by `skip` with an exact total, or by `cursor` at a cost that does not grow with depth.
//!
//! A feature takes [`ListParams`], asks its store for one or the other kind of page, and answers with a [`Listing`].

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::cursor::{Cursors, Position};
use crate::platform::error::{Error, Result};

/// The parameters that every list takes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Rows to pass over.
    #[param(minimum = 0, maximum = 2_147_483_647, default = 0, required = false, value_type = i64)]
    skip: Option<i64>,
    /// Rows to answer.
    #[param(minimum = 1, maximum = 100, default = 20, required = false, value_type = i64)]
    limit: Option<i64>,
    /// Page by cursor: empty for the first page, then the `next_cursor` of the page before. Not together with `skip`.
    #[param(max_length = 8192, required = false, value_type = String)]
    cursor: Option<String>,
}

/// Which rows are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    Skip(i64),
    /// After this row; `None` is the beginning.
    After(Option<Position>),
}

/// Which rows are wanted, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub window: Window,
    pub limit: i64,
}

impl ListParams {
    /// `scope` names the list, whose it is and how it is filtered: see [`Cursors`].
    pub fn wanted(self, cursors: &Cursors, scope: &[&str]) -> Result<Wanted> {
        let window = match (self.cursor.as_deref(), self.skip) {
            (None, skip) => Window::Skip(skip.unwrap_or(0)),
            (Some(_), Some(_)) => return Err(Error::invalid("skip", "conflict", "Give either skip or cursor")),
            (Some(""), None) => Window::After(None),
            (Some(cursor), None) => Window::After(Some(cursors.decode(scope, cursor)?)),
        };
        Ok(Wanted { window, limit: self.limit.unwrap_or(20) })
    }
}

/// The answer of a list, in the form that was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Listing<T> {
    Page {
        items: Vec<T>,
        /// All that match the filter, exactly.
        total: i64,
        skip: i64,
        limit: i64,
    },
    CursorPage {
        items: Vec<T>,
        limit: i64,
        /// For the next page; null at the end.
        next_cursor: Option<String>,
    },
}

impl<T> Listing<T> {
    /// A page by cursor, from `limit + 1` rows: the extra one only tells that there is more.
    pub fn by_cursor<R>(mut rows: Vec<R>, limit: i64, cursors: &Cursors, scope: &[&str], position: impl Fn(&R) -> Position) -> Self
    where
        T: From<R>,
    {
        let limit_rows = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit_rows;
        rows.truncate(limit_rows);
        let next_cursor = rows.last().filter(|_| more).map(|row| cursors.encode(scope, &position(row)));
        Self::CursorPage { items: rows.into_iter().map(T::from).collect(), limit, next_cursor }
    }
}

/// A row with the total of all that match, read by one statement.
#[derive(sqlx::FromRow)]
pub struct Counted<T> {
    #[sqlx(flatten)]
    pub row: T,
    pub total: i64,
}

/// A position of a list that goes by time, newest first.
pub fn position_in_time(at: DateTime<Utc>, id: String) -> Position {
    Position { key: at.timestamp_micros().to_string(), id }
}

/// The time of such a position.
pub fn time_of(position: &Position) -> Result<DateTime<Utc>> {
    let time = position.key.parse().ok().and_then(DateTime::from_timestamp_micros);
    time.ok_or_else(|| Error::invalid("cursor", "cursor", "Not a cursor of this list"))
}

/// Later than every row, within what both engines can hold: where a list by time begins.
pub fn end_of_time() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default()
}
