//! What migrations there are, and what a run does.

use sqlx::migrate::Migrator;

/// One migration and whether it was applied.
pub struct Migration {
    pub version: i64,
    pub name: String,
    pub applied: bool,
}

/// Result of a run or a dry run.
#[derive(Default)]
pub struct Report {
    pub applied: Vec<String>,
    /// Notes for the operator about a database that was taken over.
    pub remarks: Vec<String>,
}

pub(super) fn states(migrator: &Migrator, applied: &[i64]) -> Vec<Migration> {
    let state = |version, name: &str| Migration { version, name: name.to_owned(), applied: applied.contains(&version) };
    migrator.iter().map(|migration| state(migration.version, &migration.description)).collect()
}

pub(super) fn pending(migrations: &[Migration]) -> Vec<String> {
    migrations.iter().filter(|m| !m.applied).map(|m| format!("{:04} {}", m.version, m.name)).collect()
}
