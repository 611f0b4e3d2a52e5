//! SQL of `quota_counters`, and of the plan in `users`. The plan is read by the statement that counts or locks, so that a change
//! of plan counts at once and costs no round trip.

use sqlx::types::Json;

use super::plans::Limits;
use crate::platform::db::{Db, Executor, Tx, query};
use crate::platform::id::UserId;
use crate::sql;

/// Maximum number of rows that one sweep removes.
const SWEEP: i64 = 1000;

/// The name of the plan that counts for a row of `users`; NULL if no subscription is running.
const PLAN: &str = "(CASE WHEN subscription_status IN ('active', 'trialing') THEN subscription_plan END)";

/// Counts one request; the limit is tested before a first row, too. The row keeps the limit, because only its columns can be
/// tested and returned on a conflict.
const RESERVE: &str = " ON CONFLICT (user_id, feature, period)
    DO UPDATE SET used = quota_counters.used + 1, last_limit = excluded.last_limit
    WHERE excluded.last_limit < 0 OR quota_counters.used < excluded.last_limit
    RETURNING last_limit, used";

/// Condition that makes the commit on Postgres not wait for the disk, which would take most of the time. A crash of the
/// database's host may lose the counts of its last second, which a quota can bear.
const NO_WAIT: &str = "(SELECT set_config('synchronous_commit', 'off', TRUE)) = 'off'";

/// The counter of a user for one quota and period.
pub struct Counter<'c> {
    pub user: &'c UserId,
    pub feature: &'static str,
    pub period: &'c str,
}

/// A quota of a user and how much of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Usage {
    pub last_limit: i64,
    pub used: i64,
}

/// Counts one request unless the limit of the user's plan is reached; `None` if it is, or if the user is gone. Atomic:
/// concurrent requests, also on other instances, cannot pass the limit.
pub async fn reserve(db: &Db, counter: &Counter<'_>, limits: &Limits) -> sqlx::Result<Option<Usage>> {
    // SQLite's `->>` would take some names of plans for paths.
    let text = db.pick(
        sql!(
            pg: "INSERT INTO quota_counters (user_id, feature, period, used, last_limit)
             SELECT id, $4, $5, 1, plan_limit
             FROM (SELECT id, COALESCE(CAST(CAST($2 AS jsonb) ->> ", PLAN, " AS bigint), $3) AS plan_limit FROM users WHERE id = $1) AS own
             WHERE plan_limit <> 0 AND ", NO_WAIT, RESERVE
        ),
        sql!(
            lite: "INSERT INTO quota_counters (user_id, feature, period, used, last_limit)
             SELECT id, $4, $5, 1, plan_limit
             FROM (SELECT id, COALESCE((SELECT value FROM json_each($2) WHERE key = ", PLAN, "), $3) AS plan_limit FROM users WHERE id = $1) AS own
             WHERE plan_limit <> 0", RESERVE
        ),
    );
    let reserve = query(db, text).bind(counter.user).bind(Json(&limits.by_plan)).bind(limits.default);
    reserve.bind(counter.feature).bind(counter.period).fetch_optional().await
}

/// Returns the name of the user's plan and what is used of the quota; `None` if the user is gone.
pub async fn usage(db: &Db, counter: &Counter<'_>) -> sqlx::Result<Option<(Option<String>, i64)>> {
    let usage = query(
        db,
        sql!(
            "SELECT ",
            PLAN,
            ", COALESCE((SELECT used FROM quota_counters
             WHERE user_id = users.id AND feature = $2 AND period = $3), 0) FROM users WHERE id = $1"
        ),
    );
    usage.bind(counter.user).bind(counter.feature).bind(counter.period).fetch_optional().await
}

/// Returns the names of the plans of users.
pub async fn plans(on: impl Into<Executor<'_>>, users: &[&UserId]) -> sqlx::Result<Vec<(UserId, Option<String>)>> {
    let on = on.into();
    let text = if on.is_postgres() {
        sql!(pg: "SELECT id, ", PLAN, " FROM users WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text($1)))")
    } else {
        sql!(lite: "SELECT id, ", PLAN, " FROM users WHERE id IN (SELECT value FROM json_each($1))")
    };
    query(on, text).bind(Json(users)).fetch_all().await
}

/// Returns the name of a user's plan, and locks the user's row until the transaction ends: against other locks of this kind and changes of the
/// row, but not against rows that refer to it.
pub async fn lock_plan(db: &Db, tx: &mut Tx, user: &UserId) -> sqlx::Result<Option<(Option<String>,)>> {
    // SQLite has no FOR UPDATE: a write transaction locks the whole database.
    let text = db.pick(
        sql!(pg: "SELECT ", PLAN, " FROM users WHERE id = $1 FOR NO KEY UPDATE"),
        sql!(lite: "SELECT ", PLAN, " FROM users WHERE id = $1"),
    );
    query(tx, text).bind(user).fetch_optional().await
}

/// Takes one request back; never below 0.
pub async fn give_back(db: &Db, counter: &Counter<'_>) -> sqlx::Result<u64> {
    let text = db.pick(
        sql!(
            pg: "UPDATE quota_counters SET used = used - 1
             WHERE user_id = $1 AND feature = $2 AND period = $3 AND used > 0 AND ", NO_WAIT
        ),
        sql!(lite: "UPDATE quota_counters SET used = used - 1 WHERE user_id = $1 AND feature = $2 AND period = $3 AND used > 0"),
    );
    query(db, text).bind(counter.user).bind(counter.feature).bind(counter.period).execute().await
}

/// Removes a bounded number of counters of periods before this one.
pub async fn sweep(db: &Db, before: &str) -> sqlx::Result<u64> {
    let sweep = query(
        db,
        sql!(
            "DELETE FROM quota_counters WHERE period < $1
             AND user_id IN (SELECT user_id FROM quota_counters WHERE period < $1 ORDER BY period LIMIT $2)"
        ),
    );
    sweep.bind(before).bind(SWEEP).execute().await
}

/// Removes all counters of a user.
pub async fn erase(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM quota_counters WHERE user_id = $1")).bind(user).execute().await
}
