//! Classification of database errors: temporary, contended or permanent.

/// Returns whether trying again later may help: no connection, a broken or closed one, a server that is starting,
/// stopping or full, a statement over its time limit, a busy SQLite file, or a lost race ([`is_contended`]).
pub fn is_temporary(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(db) => {
            db.code().is_some_and(|code| {
                code.starts_with("08") && code.len() == 5
                || code.starts_with("57P0")
                || matches!(code.as_ref(), "53300" | "57014")
                // SQLite's extended codes hold the primary one in the low byte: 5 is SQLITE_BUSY.
                || code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 5)
            }) || is_contended(error)
        }
        _ => false,
    }
}

/// Returns whether the transaction lost against another one (serialization failure or deadlock) and may be run again.
pub fn is_contended(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(db) if matches!(db.code().as_deref(), Some("40001" | "40P01")))
}
