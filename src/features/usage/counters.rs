//! Counts that are not stored yet, in memory: one for each user, metric and day.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};

use super::model::midnight;
use crate::features::quotas::model::Month;
use crate::platform::id::{Id, UserId};
use crate::platform::usage::{Event, Metric};

/// Maximum number of counts; events that would need more are dropped. Reached only if the database is away for long.
const MAX_COUNTS: usize = 100_000;
/// Rows of a batch, so that no transaction holds SQLite's only writer for long.
const BATCH: usize = 500;
/// Values of a label, such as the types of files, that are told apart; further ones are `other`. Clients choose some of them.
const MAX_VALUES: usize = 500;

#[derive(Default)]
pub struct Counters {
    counts: HashMap<Key, Count>,
    known: HashMap<Metric, HashSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    user: UserId,
    metric: Metric,
    day: NaiveDate,
}

#[derive(Debug, Default)]
struct Count {
    quantity: i64,
    breakdown: HashMap<String, i64>,
}

/// A period of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Day(NaiveDate),
    Month(Month),
}

impl Period {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Day(_) => "daily",
            Self::Month(_) => "monthly",
        }
    }

    pub fn start(self) -> DateTime<Utc> {
        match self {
            Self::Day(day) => midnight(day),
            Self::Month(month) => month.start(),
        }
    }

    /// The first instant after it.
    pub fn end(self) -> DateTime<Utc> {
        match self {
            Self::Day(day) => midnight(day.succ_opt().unwrap_or(day)),
            Self::Month(month) => month.end(),
        }
    }
}

/// What is added to one row.
#[derive(Debug)]
pub struct Addition {
    pub user: UserId,
    pub metric: Metric,
    pub period: Period,
    pub quantity: i64,
    /// Empty for months.
    pub breakdown: HashMap<String, i64>,
}

/// Additions that are stored together, once: its id is stored with them.
#[derive(Debug)]
pub struct Batch {
    pub id: Id<Batch>,
    pub additions: Vec<Addition>,
}

impl Counters {
    /// Counts an event; returns `false` if there is no room for it.
    pub fn add(&mut self, event: Event) -> bool {
        let Event { user, at, metric, quantity, labels } = event;
        let key = Key { user, metric, day: at.date_naive() };
        if self.counts.len() >= MAX_COUNTS && !self.counts.contains_key(&key) {
            return false;
        }
        let (count, quantity) = (self.counts.entry(key).or_default(), i64::try_from(quantity).unwrap_or(i64::MAX));
        count.quantity = count.quantity.saturating_add(quantity);
        for label in labels.iter() {
            if let Some(counted) = count.breakdown.get_mut(label) {
                *counted = counted.saturating_add(quantity);
                continue;
            }
            let known = self.known.entry(metric).or_default();
            let label = if known.contains(label) || known.len() < MAX_VALUES {
                known.insert(label.clone());
                label.clone()
            } else {
                format!("{}:other", label.split(':').next().unwrap_or_default())
            };
            let counted = count.breakdown.entry(label).or_default();
            *counted = counted.saturating_add(quantity);
        }
        true
    }

    /// Takes a batch of counts, each for its day and its month; `None` if there are none.
    pub fn take(&mut self) -> Option<Batch> {
        let keys: Vec<Key> = self.counts.keys().take(BATCH).cloned().collect();
        let taken = keys.into_iter().filter_map(|key| self.counts.remove_entry(&key));
        let (mut additions, mut months) = (Vec::new(), BTreeMap::<(UserId, Metric, Month), i64>::new());
        for (Key { user, metric, day }, Count { quantity, breakdown }) in taken {
            let sum = months.entry((user.clone(), metric, Month::of(midnight(day)))).or_default();
            *sum = sum.saturating_add(quantity);
            additions.push(Addition { user, metric, period: Period::Day(day), quantity, breakdown });
        }
        additions.extend(months.into_iter().map(|((user, metric, month), quantity)| {
            let (period, breakdown) = (Period::Month(month), HashMap::new());
            Addition { user, metric, period, quantity, breakdown }
        }));
        (!additions.is_empty()).then(|| Batch::of(additions))
    }
}

impl Batch {
    fn of(additions: Vec<Addition>) -> Self {
        Self { id: Id::new(), additions }
    }

    /// Two batches of the additions of one that was refused, so that the one at fault is found. `None` if there is only one.
    pub fn halves(mut self) -> Option<(Self, Self)> {
        let rest = self.additions.split_off(self.additions.len() / 2);
        (!self.additions.is_empty()).then(|| (Self::of(self.additions), Self::of(rest)))
    }
}
