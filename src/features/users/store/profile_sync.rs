//! SQL of profiles that the identity provider changes.

use chrono::{DateTime, Utc};

use super::earlier_form;
use crate::platform::db::{Executor, query};
use crate::platform::id::UserId;
use crate::sql;

/// Sets the members that are given; the address only if no other user has it. Returns the address that is stored then; `None` if
/// there is no such user.
pub async fn update(
    on: impl Into<Executor<'_>>,
    id: &UserId,
    email: Option<&str>,
    full_name: Option<&str>,
    avatar_url: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    let update = query(
        on,
        sql!(
            "UPDATE users SET email = CASE WHEN EXISTS (SELECT 1 FROM users AS other WHERE other.email IN ($2, $3) AND other.id <> $1)
                 THEN email ELSE COALESCE($2, email) END,
             full_name = COALESCE($4, full_name), avatar_url = COALESCE($5, avatar_url), updated_at = $6 WHERE id = $1 RETURNING email"
        ),
    );
    let update = update.bind(id).bind(email).bind(email.map(earlier_form)).bind(full_name).bind(avatar_url).bind(now);
    Ok(update.fetch_optional::<(String,)>().await?.map(|(email,)| email))
}
