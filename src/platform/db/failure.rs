//! Classification of database errors: temporary, contended or permanent, and what they say about the connection.

use sqlx::error::DatabaseError;

/// Returns whether trying again later may help: no connection, a broken or closed one, a server that is starting,
/// stopping, full or takes no writes, a statement or a lock over its time limit, a busy, full or failing SQLite file, or a
/// lost race ([`is_contended`]).
pub fn is_temporary(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(db) => {
            db.code().is_some_and(|code| {
                is_connection_code(&code)
                    || matches!(code.as_ref(), "25006" | "53100" | "53300" | "55P03" | "57014")
                    || matches!(sqlite_code(&code), Some(BUSY | READONLY | IOERR | FULL | CANTOPEN))
            }) || is_contended(error)
        }
        _ => false,
    }
}

/// Returns whether the transaction lost against another one (serialization failure or deadlock), or ran into a plan that was
/// made before a column changed, and may be run again.
pub fn is_contended(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(db) = error else { return false };
    matches!(db.code().as_deref(), Some("40001" | "40P01")) || is_stale_plan(db.as_ref())
}

/// What an error says about the connection that it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    None,
    /// It must not be used again.
    Connection,
    /// All connections as old as this one share its fault: a broken network, a stopped server, plans made before a column
    /// changed.
    AllConnections,
    /// The server takes no writes. Its connections stay like that when the server is the primary again.
    ReadOnly,
}

pub(super) fn damage(error: &sqlx::Error) -> Damage {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Damage::AllConnections,
        sqlx::Error::WorkerCrashed => Damage::Connection,
        sqlx::Error::Database(db) => match db.code() {
            Some(code) if is_connection_code(&code) || is_stale_plan(db.as_ref()) => Damage::AllConnections,
            Some(code) if code == "25006" => Damage::ReadOnly,
            _ if is_temporary(error) && !is_contended(error) => Damage::Connection,
            _ => Damage::None,
        },
        _ => Damage::None,
    }
}

/// Returns whether the error says that the database takes no writes: a server that is read-only or whose disk is full, a
/// SQLite file that cannot be written.
pub(super) fn refuses_writes(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(db) = error else { return false };
    db.code().is_some_and(|code| {
        matches!(code.as_ref(), "25006" | "53100") || matches!(sqlite_code(&code), Some(READONLY | IOERR | FULL | CANTOPEN))
    })
}

/// Returns whether the server does not accept connections yet: it is starting, or has no place.
pub(super) fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(db) => matches!(db.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}

/// What to do about an error that comes from a pooler in transaction mode, without the setting for it.
pub fn pooler_remedy(error: &sqlx::Error) -> Option<&'static str> {
    let sqlx::Error::Database(db) = error else { return None };
    let start = db.code().as_deref() == Some("08P01") && db.message().contains("startup parameter");
    (start || matches!(db.code().as_deref(), Some("42P05" | "26000")))
        .then_some("DATABASE_URL points to a pooler in transaction mode, such as PgBouncer: set DB_PGBOUNCER=true (docs/pgbouncer.md)")
}

fn is_connection_code(code: &str) -> bool {
    code.len() == 5 && (code.starts_with("08") || code.starts_with("57P0"))
}

/// SQLSTATE 0A000 has many causes; this one is told by the server's function, which is never translated.
fn is_stale_plan(error: &dyn DatabaseError) -> bool {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery");
    }
    let _ = error;
    false
}

const BUSY: u32 = 5;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const FULL: u32 = 13;
/// On a full disk the files beside the database cannot be made.
const CANTOPEN: u32 = 14;

/// The primary code of SQLite: the low byte of an extended one. Postgres' codes have five characters.
fn sqlite_code(code: &str) -> Option<u32> {
    if code.len() < 5 { code.parse::<u32>().ok().map(|code| code & 0xff) } else { None }
}
