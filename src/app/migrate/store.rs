//! SQL of the code steps that follow the migrations.

use crate::platform::db::{On, q};
use crate::sql;

/// Some projects whose search form is not filled yet: id and name.
pub async fn unfolded_projects(on: impl Into<On<'_>>) -> sqlx::Result<Vec<(String, String)>> {
    q(on, sql!("SELECT id, name FROM projects WHERE name_folded = '' AND name <> '' LIMIT 500")).all().await
}

pub async fn set_name_folded(on: impl Into<On<'_>>, id: String, folded: String) -> sqlx::Result<u64> {
    q(on, sql!("UPDATE projects SET name_folded = $2 WHERE id = $1")).bind(id).bind(folded).exec().await
}
