//! What a feature brings: one record of hooks, so that no part of the server lists the others.

use std::pin::Pin;

use serde_json::{Map, Value};

use super::jobs::Registry;
use super::jobs::cron::Schedules;
use super::{App, Routes};
use crate::platform::db::{Db, Tx};
use crate::platform::error::Result;

/// A feature's hooks; those that it does not name are empty.
#[derive(Clone, Copy)]
pub struct Feature {
    /// As its folder is called.
    pub name: &'static str,
    /// Routes under `/api/v1/public`.
    pub public: fn() -> Routes,
    /// Routes under `/api/v1/app`.
    pub app: fn() -> Routes,
    /// Routes under `/api/v1/admin`.
    pub admin: fn() -> Routes,
    /// Pages for people, outside of the API: neither limited nor counted.
    pub pages: fn(&App) -> Pages,
    /// Functions that run in the background.
    pub jobs: fn(&mut Registry),
    /// Functions that run by the clock.
    pub cron: fn(&mut Schedules),
    /// What the feature keeps of one user, by name, for their copy of it.
    pub export: fn(App, String) -> Exported,
    /// Removes what the feature keeps of one user; says how many rows it was. The features run from the last to the
    /// first of the list, in one transaction: what stands on others goes before them.
    pub erase: for<'a> fn(&'a App, &'a mut Tx, &'a str) -> Erased<'a>,
    /// Ends what a user who is being deactivated could go on using, in the same transaction.
    pub deactivate: for<'a> fn(&'a App, &'a mut Tx, &'a str) -> Deactivated<'a>,
    /// Makes a demonstration user's examples, for work on a front end; none where they are there already.
    pub seed: for<'a> fn(&'a App, &'a str) -> Seeded<'a>,
    /// What goes away with time.
    pub cleanup: &'static [Cleanup],
    /// What SQL alone cannot do for rows that another version wrote. Runs after every migration and every
    /// start, so it must cost nothing where nothing is left to do.
    pub after_migrations: fn(Db) -> Step,
}

/// Pages by their paths, which are whole: no zone's prefix comes before them.
pub type Pages = Vec<(&'static str, axum::routing::MethodRouter)>;
/// A step of a feature's own.
pub type Step = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;
pub type Exported = Pin<Box<dyn Future<Output = Result<Map<String, Value>>> + Send>>;
pub type Erased<'a> = Pin<Box<dyn Future<Output = Result<u64>> + Send + 'a>>;
pub type Deactivated<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
/// What was made, for people, where anything was.
pub type Seeded<'a> = Pin<Box<dyn Future<Output = Result<Option<String>>> + Send + 'a>>;
pub type Cleaned = Pin<Box<dyn Future<Output = Result<Removed>> + Send>>;

/// One kind of thing that goes away with time.
pub struct Cleanup {
    pub when: When,
    /// Removes a bounded number of them; called again until it removes none.
    pub run: fn(App) -> Cleaned,
}

/// How soon something goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It has expired and is of no use: every hour.
    Expired,
    /// It has been kept for a while on purpose: every week, with all that has expired.
    Old,
}

/// What a clean-up has removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removed {
    pub records: u64,
    /// Bytes given free outside of the database.
    pub bytes: u64,
}

impl Feature {
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            public: Routes::new,
            app: Routes::new,
            admin: Routes::new,
            pages: |_| Vec::new(),
            jobs: |_| {},
            cron: |_| {},
            export: |_, _| Box::pin(async { Ok(Map::new()) }),
            erase: |_, _, _| Box::pin(async { Ok(0) }),
            deactivate: |_, _, _| Box::pin(async { Ok(()) }),
            seed: |_, _| Box::pin(async { Ok(None) }),
            cleanup: &[],
            after_migrations: |_| Box::pin(async { Ok(()) }),
        }
    }
}
