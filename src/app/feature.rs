//! What a feature brings: one record of hooks, so that no part of the server lists the others.

use std::pin::Pin;

use super::Routes;
use crate::platform::db::Db;

/// A feature's hooks; those that it does not name are empty.
pub struct Feature {
    /// As its folder is called.
    pub name: &'static str,
    /// Routes under `/api/v1/public`.
    pub public: fn() -> Routes,
    /// Routes under `/api/v1/app`.
    pub app: fn() -> Routes,
    /// Routes under `/api/v1/admin`.
    pub admin: fn() -> Routes,
    /// What SQL alone cannot do for rows that another version wrote. Runs after every migration and every
    /// start, so it must cost nothing where nothing is left to do.
    pub after_migrations: fn(Db) -> Step,
}

/// A step of a feature's own.
pub type Step = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

impl Feature {
    pub const fn new(name: &'static str) -> Self {
        Self { name, public: Routes::new, app: Routes::new, admin: Routes::new, after_migrations: |_| Box::pin(async { Ok(()) }) }
    }
}
