//! Looks at a Postgres database made by the service we take over, before the migrations change it.
//!
//! It only reads. Ids that would break a unique index stop the run here, while nothing has changed yet; what the
//! migrations will change or have to leave is returned, so that it can be reported. The changes themselves are SQL,
//! in `migrations/postgres`.

use anyhow::{Context as _, Result, bail};
use sqlx::PgConnection;

/// Maximum number of ids in an error message.
const NAMED: i64 = 20;

/// What taking over the database changes or leaves, as user ids. Empty for a new or already migrated database.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Takeover {
    /// Users whose role is none of ours: they become `user`.
    pub unknown_roles: Vec<String>,
    /// Users whose e-mail stays as written, because in plain form (trimmed, lower case) another user has it too.
    pub colliding_emails: Vec<String>,
}

impl Takeover {
    /// One line for each user concerned, for the log or the terminal. Names ids only, never addresses.
    pub fn lines(&self) -> Vec<String> {
        let roles = self.unknown_roles.iter().map(|id| format!("user {id}: the role is unknown and becomes `user`"));
        let emails = self
            .colliding_emails
            .iter()
            .map(|id| format!("user {id}: the e-mail stays as it is, for another user has the same but for case or surrounding spaces"));
        roles.chain(emails).collect()
    }
}

/// A column that becomes unique, but whose old index allowed duplicates.
struct Unique {
    table: &'static str,
    column: &'static str,
    /// The ids of all rows that share their value with another, those that share it side by side, with their number.
    shared: &'static str,
    remedy: &'static str,
}

const UNIQUE: [Unique; 4] = [
    Unique {
        table: "users",
        column: "stripe_customer_id",
        shared: "SELECT id, count(*) OVER () FROM users WHERE stripe_customer_id IN \
                 (SELECT stripe_customer_id FROM users GROUP BY stripe_customer_id HAVING count(*) > 1) \
                 ORDER BY stripe_customer_id, id LIMIT $1",
        remedy: "set users.stripe_customer_id to NULL for all but the user it belongs to",
    },
    Unique {
        table: "users",
        column: "apple_original_transaction_id",
        shared: "SELECT id, count(*) OVER () FROM users WHERE apple_original_transaction_id IN \
                 (SELECT apple_original_transaction_id FROM users GROUP BY apple_original_transaction_id HAVING count(*) > 1) \
                 ORDER BY apple_original_transaction_id, id LIMIT $1",
        remedy: "set users.apple_original_transaction_id to NULL for all but the user it belongs to",
    },
    Unique {
        table: "users",
        column: "google_purchase_token",
        shared: "SELECT id, count(*) OVER () FROM users WHERE google_purchase_token IN \
                 (SELECT google_purchase_token FROM users GROUP BY google_purchase_token HAVING count(*) > 1) \
                 ORDER BY google_purchase_token, id LIMIT $1",
        remedy: "set users.google_purchase_token to NULL for all but the user it belongs to",
    },
    Unique {
        table: "files",
        column: "key",
        shared: "SELECT id, count(*) OVER () FROM files WHERE key IN \
                 (SELECT key FROM files GROUP BY key HAVING count(*) > 1) \
                 ORDER BY key, id LIMIT $1",
        remedy: "give each of the files a files.key of its own, or delete the rows that are not needed",
    },
];

/// What taking over this database changes. Fails, naming rows and remedy, where the migrations could not succeed.
pub async fn inspect(conn: &mut PgConnection) -> Result<Takeover> {
    if !is_old(conn).await.context("looking for the tables of an older service")? {
        return Ok(Takeover::default());
    }
    refuse_shared(conn).await?;
    Ok(Takeover {
        unknown_roles: unknown_roles(conn).await.context("looking for unknown roles")?,
        colliding_emails: colliding_emails(conn).await.context("comparing e-mail addresses")?,
    })
}

/// Whether a table `users` exists to which our first migration has not been applied.
async fn is_old(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let (users, ours): (bool, bool) =
        sqlx::query_as("SELECT to_regclass('users') IS NOT NULL, to_regclass('_sqlx_migrations') IS NOT NULL")
            .fetch_one(&mut *conn)
            .await?;
    if !users || !ours {
        return Ok(users);
    }
    sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM _sqlx_migrations WHERE version = 1 AND success)").fetch_one(conn).await
}

/// Checks every column before failing, so that one error names all problems.
async fn refuse_shared(conn: &mut PgConnection) -> Result<()> {
    let mut problems = Vec::new();
    for unique in &UNIQUE {
        let Unique { table, column, .. } = unique;
        let ids = shared(conn, unique).await.with_context(|| format!("looking for duplicates in {table}.{column}"))?;
        if let Some(ids) = ids {
            problems.push(format!("{table}.{column} is the same in rows that must differ, by id: {ids}. Remedy: {}.", unique.remedy));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("the database cannot be taken over yet, and nothing was changed.\n{}\nThen start again.", problems.join("\n"))
}

/// The ids that share a value, as text, or `None` if there are none. The table and the column may be absent.
async fn shared(conn: &mut PgConnection, unique: &Unique) -> sqlx::Result<Option<String>> {
    let present: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped)",
    )
    .bind(unique.table)
    .bind(unique.column)
    .fetch_one(&mut *conn)
    .await?;
    if !present {
        return Ok(None);
    }
    let rows: Vec<(String, i64)> = sqlx::query_as(unique.shared).bind(NAMED).fetch_all(conn).await?;
    let Some(&(_, total)) = rows.first() else { return Ok(None) };
    let ids: Vec<String> = rows.into_iter().map(|(id, _)| id).collect();
    let more = if total > NAMED { format!(" and {} more", total - NAMED) } else { String::new() };
    Ok(Some(ids.join(", ") + &more))
}

async fn unknown_roles(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT id FROM users WHERE role NOT IN ('user', 'admin', 'superadmin') ORDER BY id").fetch_all(conn).await
}

/// The plain form is the one of `0001_users.sql`; change both or neither.
async fn colliding_emails(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        r#"SELECT id FROM (
               SELECT id, email, address, count(*) OVER (PARTITION BY address) AS holders
               FROM (SELECT id, email, lower(lower(btrim(email, E' \t\r\n') COLLATE "C") COLLATE "default") AS address FROM users) AS folded
           ) AS plain
           WHERE holders > 1 AND email <> address
           ORDER BY id"#,
    )
    .fetch_all(conn)
    .await
}
