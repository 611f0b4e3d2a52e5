//! SQL of `email_slots`.

use chrono::{DateTime, TimeDelta, Utc};

use crate::app::jobs::JobId;
use crate::platform::db::{Db, query};
use crate::sql;

/// Maximum number of rows that one sweep removes.
const SWEEP: i64 = 1000;

/// A mail's claim on a slot.
pub struct Claim<'c> {
    pub recipient: &'c str,
    pub job: JobId,
    pub now: DateTime<Utc>,
}

/// Keeps the slot that an earlier attempt of the job took; returns `false` if it has none.
pub async fn renew(db: &Db, claim: &Claim<'_>) -> sqlx::Result<bool> {
    let renew = query(db, sql!("UPDATE email_slots SET taken_at = $3 WHERE recipient = $1 AND job_id = $2"));
    Ok(renew.bind(claim.recipient).bind(claim.job).bind(claim.now).execute().await? > 0)
}

/// Takes a slot unless another job took it within `kept`. Atomic: of concurrent jobs one gets it.
pub async fn take(db: &Db, claim: &Claim<'_>, slot: i64, kept: TimeDelta) -> sqlx::Result<bool> {
    // A time far in the future comes from a clock that was wrong, and must not block the address until then.
    let take = query(
        db,
        sql!(
            "INSERT INTO email_slots (recipient, slot, job_id, taken_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (recipient, slot) DO UPDATE SET job_id = excluded.job_id, taken_at = excluded.taken_at
             WHERE email_slots.taken_at <= $5 OR email_slots.taken_at > $6"
        ),
    );
    let take = take.bind(claim.recipient).bind(slot).bind(claim.job).bind(claim.now);
    Ok(take.bind(claim.now - kept).bind(claim.now + kept).execute().await? == 1)
}

/// Removes a bounded number of slots that were taken before `until`.
pub async fn sweep(db: &Db, until: DateTime<Utc>) -> sqlx::Result<u64> {
    let sweep = query(
        db,
        sql!(
            "DELETE FROM email_slots WHERE taken_at <= $1
             AND recipient IN (SELECT recipient FROM email_slots WHERE taken_at <= $1 ORDER BY taken_at LIMIT $2)"
        ),
    );
    sweep.bind(until).bind(SWEEP).execute().await
}
