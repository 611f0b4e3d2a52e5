//! What a feature brings: one record of hooks, so that no part of the server lists the others.

use super::Routes;

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
}

impl Feature {
    pub const fn new(name: &'static str) -> Self {
        Self { name, public: Routes::new, app: Routes::new, admin: Routes::new }
    }
}
