//! Lists: pages by `skip` with an exact total, or by `cursor` at a cost that does not grow with depth.
//!
//! A store describes a list once, as a [`List`]: three statements and its filters. Paging, cursors, totals and exports are
//! derived from it. The filters are both the statements' arguments and the cursor's scope, so a cursor is valid only for the
//! same filters.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::cursor::{Cursors, Position};
use crate::platform::db::{Db, Query as DbQuery, Row, Sql, query};
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;

/// The parameters that every list takes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Rows to pass over; 0 without it.
    // No default in the document: generated clients would send it together with `cursor`.
    #[param(minimum = 0, maximum = 2_147_483_647, required = false, value_type = i64)]
    skip: Option<i64>,
    /// Rows to answer.
    #[param(minimum = 1, maximum = 100, default = 20, required = false, value_type = i64)]
    limit: Option<i64>,
    /// Page by cursor: empty for the first page, then the `next_cursor` of the page before. Not together with `skip`.
    // The longest, of a name of 255 characters, has 4,200; a URL of 64 KiB has room for this many, percent-encoded.
    #[param(max_length = 4608, required = false, value_type = String)]
    cursor: Option<String>,
}

/// A page of a list. By `skip` it has `total` and `skip`, by `cursor` it has `next_cursor`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub limit: i64,
    /// All that match the filter, exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i64, required = false)]
    pub total: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i64, required = false)]
    pub skip: Option<i64>,
    /// For the next page; null at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false)]
    pub next_cursor: Option<Option<String>>,
}

/// The statements of a list. Arguments come in this order: the list's filters, then those named here.
#[derive(Clone, Copy)]
pub struct ListSql {
    /// `… LIMIT, OFFSET`, with a column `total` besides the row's own.
    pub page: &'static Sql,
    /// The filters alone: the total, for a page past the end.
    pub count: &'static Sql,
    /// `…, key, id, LIMIT`: the rows after this position.
    pub after: &'static Sql,
}

/// A row of a list, with its position in the list's order.
pub trait Listed: Row {
    /// By time, newest first, or by text.
    fn sort_key(&self) -> SortKey;
    fn id(&self) -> String;
}

/// The value that a list is ordered by; ties are ordered by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortKey {
    Time(DateTime<Utc>),
    Text(String),
}

/// A value that a list is filtered by.
#[derive(Debug, Clone)]
pub enum Filter {
    Text(String),
    OptionalText(Option<String>),
    OptionalFlag(Option<bool>),
}

impl From<&UserId> for Filter {
    fn from(id: &UserId) -> Self {
        Self::Text(id.as_str().to_owned())
    }
}

impl Filter {
    fn bind<'c>(&self, query: DbQuery<'c>) -> DbQuery<'c> {
        match self {
            Self::Text(text) => query.bind(text),
            Self::OptionalText(text) => query.bind(text),
            Self::OptionalFlag(flag) => query.bind(flag),
        }
    }

    fn scope(&self) -> String {
        match self {
            Self::Text(text) => format!("={text}"),
            Self::OptionalText(text) => text.as_ref().map_or_else(String::new, |text| format!("={text}")),
            Self::OptionalFlag(flag) => flag.map_or_else(String::new, |flag| format!("={flag}")),
        }
    }
}

/// A list of rows `R`, with its filters.
pub struct List<R> {
    name: &'static str,
    sql: ListSql,
    filters: Vec<Filter>,
    /// Where the list begins.
    first: SortKey,
    rows: std::marker::PhantomData<fn() -> R>,
}

/// A row and the number of all matching rows, read by one statement.
#[derive(sqlx::FromRow)]
pub struct Counted<T> {
    #[sqlx(flatten)]
    pub row: T,
    pub total: i64,
}

impl<R: Listed> List<R>
where
    Counted<R>: Row,
{
    /// Returns a list ordered by time, newest first. `name` is part of every cursor.
    pub fn newest_first(name: &'static str, sql: ListSql) -> Self {
        Self { name, sql, filters: Vec::new(), first: SortKey::Time(end_of_time()), rows: std::marker::PhantomData }
    }

    /// Returns a list ordered by text.
    pub fn by_text(name: &'static str, sql: ListSql) -> Self {
        Self { name, sql, filters: Vec::new(), first: SortKey::Text(String::new()), rows: std::marker::PhantomData }
    }

    /// Adds a filter, e.g. the owner of the rows; its value is the next argument of the statements.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Returns the page that a request asks for.
    pub async fn page<T: From<R>>(&self, db: &Db, cursors: &Cursors, params: ListParams) -> Result<Page<T>> {
        let limit = params.limit.unwrap_or(20);
        let cursor = match (params.cursor.as_deref(), params.skip) {
            (None, skip) => {
                let skip = skip.unwrap_or(0);
                let (rows, total) = self.rows(db, limit, skip).await?;
                let items = rows.into_iter().map(T::from).collect();
                return Ok(Page { items, limit, total: Some(total), skip: Some(skip), next_cursor: None });
            }
            (Some(_), Some(_)) => return Err(Error::invalid("skip", "conflict", "Give either skip or cursor")),
            (Some(cursor), None) => cursor,
        };
        let scope = self.scope();
        let (key, id) = match cursor {
            "" => (self.first.clone(), String::new()),
            cursor => {
                let position = cursors.decode(&scope, cursor)?;
                (self.first.parse(position.key)?, position.id)
            }
        };
        // The extra row only shows whether there is a next page.
        let mut rows = self.after(db, &key, &id, limit + 1).await?;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        let position = |row: &R| Position { key: row.sort_key().text(), id: row.id() };
        let next_cursor = rows.last().filter(|_| more).map(|row| cursors.encode(&scope, &position(row)));
        Ok(Page { items: rows.into_iter().map(T::from).collect(), limit, total: None, skip: None, next_cursor: Some(next_cursor) })
    }

    /// Returns the rows after the first `skip`, and the exact total.
    pub async fn rows(&self, db: &Db, limit: i64, skip: i64) -> sqlx::Result<(Vec<R>, i64)> {
        let page = self.bound(query(db, self.sql.page)).bind(limit).bind(skip);
        page_with_total(page, || self.bound(query(db, self.sql.count)), skip).await
    }

    /// Calls `each` with every row, in pages of `size`.
    pub async fn for_each(&self, db: &Db, size: i64, mut each: impl FnMut(R)) -> sqlx::Result<()> {
        let (mut key, mut id) = (self.first.clone(), String::new());
        loop {
            let rows = self.after(db, &key, &id, size).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            (key, id) = (last.sort_key(), last.id());
            rows.into_iter().for_each(&mut each);
        }
    }

    async fn after(&self, db: &Db, key: &SortKey, id: &str, limit: i64) -> sqlx::Result<Vec<R>> {
        let after = self.bound(query(db, self.sql.after));
        let after = match key {
            SortKey::Time(time) => after.bind(time),
            SortKey::Text(text) => after.bind(text),
        };
        after.bind(id).bind(limit).fetch_all().await
    }

    fn bound<'c>(&self, query: DbQuery<'c>) -> DbQuery<'c> {
        self.filters.iter().fold(query, |query, filter| filter.bind(query))
    }

    fn scope(&self) -> Vec<String> {
        std::iter::once(self.name.to_owned()).chain(self.filters.iter().map(Filter::scope)).collect()
    }
}

impl SortKey {
    fn text(&self) -> String {
        match self {
            Self::Time(time) => time.timestamp_micros().to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    /// Parses a sort key of the same kind.
    fn parse(&self, text: String) -> Result<Self> {
        match self {
            Self::Time(_) => {
                let time = text.parse().ok().and_then(DateTime::from_timestamp_micros);
                time.map(Self::Time).ok_or_else(|| Error::invalid("cursor", "cursor", "Not a cursor of this list"))
            }
            Self::Text(_) => Ok(Self::Text(text)),
        }
    }
}

/// Runs a page statement with a `total` column; `count` runs only for a page past the end.
pub async fn page_with_total<'c, R: Row>(page: DbQuery<'_>, count: impl FnOnce() -> DbQuery<'c>, skip: i64) -> sqlx::Result<(Vec<R>, i64)>
where
    Counted<R>: Row,
{
    let rows: Vec<Counted<R>> = page.fetch_all().await?;
    let total = match rows.first() {
        Some(row) => row.total,
        None if skip == 0 => 0,
        None => count().fetch_one::<(i64,)>().await?.0,
    };
    Ok((rows.into_iter().map(|counted| counted.row).collect(), total))
}

/// A time later than every row's, within the range of both engines.
fn end_of_time() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default()
}
