//! SQL of `quota_counters`. Reads the plan of a user in the same statement, so that a change of plan counts at once and a
//! reservation is one round trip.

use sqlx::types::Json;

use super::plans::Limits;
use crate::platform::db::{Db, Executor, query};
use crate::platform::id::UserId;
use crate::sql;

/// Maximum number of rows that one sweep removes.
const SWEEP: i64 = 1000;

/// The limit of a row of `users`: `$2` holds the limits by plan, `$3` the default one. SQLite's `->>` would take some names
/// of plans for paths.
const LIMIT_POSTGRES: &str = "COALESCE(CASE WHEN subscription_status IN ('active', 'trialing')
    THEN CAST(CAST($2 AS jsonb) ->> subscription_plan AS bigint) END, $3)";
const LIMIT_SQLITE: &str = "COALESCE(CASE WHEN subscription_status IN ('active', 'trialing')
    THEN (SELECT value FROM json_each($2) WHERE key = subscription_plan) END, $3)";

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
    let text = db.pick(
        sql!(
            pg: "INSERT INTO quota_counters (user_id, feature, period, used, last_limit)
             SELECT id, $4, $5, 1, plan_limit FROM (SELECT id, ", LIMIT_POSTGRES, " AS plan_limit FROM users WHERE id = $1) AS own
             WHERE plan_limit <> 0 AND ", NO_WAIT, RESERVE
        ),
        sql!(
            lite: "INSERT INTO quota_counters (user_id, feature, period, used, last_limit)
             SELECT id, $4, $5, 1, plan_limit FROM (SELECT id, ", LIMIT_SQLITE, " AS plan_limit FROM users WHERE id = $1) AS own
             WHERE plan_limit <> 0", RESERVE
        ),
    );
    let reserve = query(db, text).bind(counter.user).bind(Json(&limits.by_plan)).bind(limits.default);
    reserve.bind(counter.feature).bind(counter.period).fetch_optional().await
}

/// Returns the limit of the user's plan and what is used of it; `None` if the user is gone.
pub async fn usage(db: &Db, counter: &Counter<'_>, limits: &Limits) -> sqlx::Result<Option<Usage>> {
    let text = db.pick(
        sql!(
            pg: "SELECT ", LIMIT_POSTGRES, " AS last_limit, COALESCE((SELECT used FROM quota_counters
             WHERE user_id = users.id AND feature = $4 AND period = $5), 0) AS used FROM users WHERE id = $1"
        ),
        sql!(
            lite: "SELECT ", LIMIT_SQLITE, " AS last_limit, COALESCE((SELECT used FROM quota_counters
             WHERE user_id = users.id AND feature = $4 AND period = $5), 0) AS used FROM users WHERE id = $1"
        ),
    );
    let usage = query(db, text).bind(counter.user).bind(Json(&limits.by_plan)).bind(limits.default);
    usage.bind(counter.feature).bind(counter.period).fetch_optional().await
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
