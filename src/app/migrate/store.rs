//! SQL of the code steps that follow the migrations.

use crate::platform::db::{On, q};
use crate::sql;

/// Some projects whose search form is not filled yet: id and name. In order, so that two instances that fill at once
/// cannot lock each other out.
pub async fn unfolded_projects(on: impl Into<On<'_>>) -> sqlx::Result<Vec<(String, String)>> {
    q(on, sql!("SELECT id, name FROM projects WHERE name_folded = '' AND name <> '' ORDER BY id LIMIT 500")).all().await
}

/// Unless somebody has renamed the project meanwhile.
pub async fn set_name_folded(on: impl Into<On<'_>>, id: String, folded: String) -> sqlx::Result<u64> {
    q(on, sql!("UPDATE projects SET name_folded = $2 WHERE id = $1 AND name_folded = ''")).bind(id).bind(folded).exec().await
}
