//! The table of applied migrations.

use crate::platform::db::{Db, query};
use crate::sql;

/// Empty where the table of migrations does not exist yet.
pub async fn applied_versions(db: &Db) -> sqlx::Result<Vec<i64>> {
    let there = db.pick(
        sql!(pg: "SELECT CAST(count(*) AS BIGINT) FROM pg_tables WHERE schemaname = current_schema() AND tablename = '_sqlx_migrations'"),
        sql!(lite: "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'"),
    );
    let (there,): (i64,) = query(db, there).fetch_one().await?;
    if there == 0 {
        return Ok(Vec::new());
    }
    let applied: Vec<(i64,)> = query(db, sql!("SELECT version FROM _sqlx_migrations ORDER BY version")).fetch_all().await?;
    Ok(applied.into_iter().map(|(version,)| version).collect())
}
