//! The schema: equal on both engines, and valid for every SQL statement of the service.

use std::collections::BTreeSet;
use std::path::Path;

use omnistack::platform::db::{Engine, Pools, Registered};
use sqlx::{Executor, SqlSafeStr};

use crate::harness::database::{Database, connect};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    sql_every_statement_prepares_on_its_engine,
    schema_tables_have_the_required_columns,
    schema_manual_insert_gets_defaults
];

async fn sql_every_statement_prepares_on_its_engine(b: Backend) {
    let database = Database::create(b).await;
    let (db, _) = connect(&database.url).await;
    let mut problems = Vec::new();
    for Registered(sql) in inventory::iter::<Registered> {
        let outcome = match &db.pools {
            Pools::Postgres(pool) if sql.engine != Engine::Sqlite => {
                pool.acquire().await.unwrap().prepare(sql.text.into_sql_str()).await.map(|_| ())
            }
            Pools::Sqlite { write, .. } if sql.engine != Engine::Postgres => {
                write.acquire().await.unwrap().prepare(sql.text.into_sql_str()).await.map(|_| ())
            }
            _ => Ok(()),
        };
        if let Err(error) = outcome {
            problems.push(format!("{}:{}: {error}\n{}", sql.place.0, sql.place.1, sql.text));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// A statement that is missing from the registry would not be prepared by any test.
#[test]
fn sql_registry_contains_every_statement() {
    fn texts_in(folder: &Path, found: &mut usize) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts_in(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let code =
                    source.lines().take_while(|line| !line.starts_with("mod tests")).filter(|line| !line.trim_start().starts_with("//"));
                *found += code.map(|line| line.matches("sql!(").count() - line.matches("sql!(@").count()).sum::<usize>();
            }
        }
    }
    let mut written = 0;
    texts_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut written);
    let registered = inventory::iter::<Registered>.into_iter().filter(|Registered(sql)| sql.place.0.starts_with("src/")).count();
    assert_eq!(registered, written);
}

/// Table, column, type on Postgres, nullability.
const COLUMNS: &str = "
users id text NO
users email text NO
users full_name varchar(255) YES
users avatar_url varchar(2048) YES
users role text NO
users is_active bool NO
users stripe_customer_id text YES
users subscription_status text YES
users subscription_plan text YES
users apple_original_transaction_id text YES
users google_purchase_token text YES
users last_login_at timestamptz YES
users login_count int4 NO
users subscription_source text YES
users subscription_event_at timestamptz YES
users created_at timestamptz NO
users updated_at timestamptz NO
projects id text NO
projects name varchar(255) NO
projects description varchar(2000) YES
projects owner_id text NO
projects deleted_at timestamptz YES
projects name_folded text NO
projects created_at timestamptz NO
projects updated_at timestamptz NO
files id text NO
files owner_id text NO
files key text NO
files filename varchar(255) NO
files content_type varchar(100) YES
files size int8 NO
files status text NO
files created_at timestamptz NO
files updated_at timestamptz NO
webhook_events id text NO
webhook_events provider text NO
webhook_events event_type text NO
webhook_events idempotency_key text NO
webhook_events payload jsonb NO
webhook_events status text NO
webhook_events error_message text YES
webhook_events processed_at timestamptz YES
webhook_events attempts int4 NO
webhook_events occurred_at timestamptz YES
webhook_events created_at timestamptz NO
webhook_events updated_at timestamptz NO
jobs id text NO
jobs function text NO
jobs args jsonb NO
jobs kwargs jsonb NO
jobs status text NO
jobs attempts int4 NO
jobs max_attempts int4 NO
jobs run_at timestamptz NO
jobs enqueue_time timestamptz NO
jobs start_time timestamptz YES
jobs finish_time timestamptz YES
jobs success bool YES
jobs result jsonb YES
jobs error text YES
jobs dedupe_key text YES
jobs locked_by text YES
jobs locked_until timestamptz YES";

const PG_COLUMNS: &str = "SELECT table_name || ' ' || column_name || ' ' || is_nullable FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'";
const LITE_COLUMNS: &str = "SELECT m.name || ' ' || c.name || ' ' || CASE c.\"notnull\" WHEN 1 THEN 'NO' ELSE 'YES' END
    FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT IN ('_sqlx_migrations', 'sqlite_sequence')";
const PG_TYPES: &str = "SELECT table_name || ' ' || column_name || ' ' || udt_name || COALESCE('(' || character_maximum_length || ')', '')
    || ' ' || is_nullable FROM information_schema.columns WHERE table_schema = 'public'";
const PG_INDEXES: &str = "SELECT tablename || ' ' || indexname || CASE WHEN indexdef LIKE 'CREATE UNIQUE%' THEN ' unique' ELSE '' END
    FROM pg_indexes WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations' AND indexname NOT LIKE '%\\_pkey'";
const LITE_INDEXES: &str = "SELECT m.name || ' ' || i.name || CASE i.\"unique\" WHEN 1 THEN ' unique' ELSE '' END
    FROM sqlite_master m, pragma_index_list(m.name) i WHERE m.type = 'table' AND m.name <> '_sqlx_migrations' AND i.origin = 'c'";
/// Columns of each primary key, in key order.
const PG_KEYS: &str = "SELECT c.relname || ' ' || string_agg(a.attname, ',' ORDER BY a.attnum) FROM pg_index i
    JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
    WHERE i.indisprimary AND c.relnamespace = 'public'::regnamespace AND c.relname <> '_sqlx_migrations' GROUP BY c.relname";
const LITE_KEYS: &str = "SELECT m.name || ' ' || group_concat(c.name, ',') FROM sqlite_master m, pragma_table_info(m.name) c
    WHERE m.type = 'table' AND m.name NOT IN ('_sqlx_migrations', 'sqlite_sequence') AND c.pk > 0 GROUP BY m.name";

async fn listed(b: Backend, text: &str) -> BTreeSet<String> {
    let database = Database::create(b).await;
    let (db, _) = connect(&database.url).await;
    database.texts(&db, text).await.into_iter().collect()
}

async fn schema_tables_have_the_required_columns(b: Backend) {
    let found = listed(b, if b == Backend::Postgres { PG_TYPES } else { LITE_COLUMNS }).await;
    for line in COLUMNS.lines().skip(1) {
        let words: Vec<&str> = line.split(' ').collect();
        let wanted = if b == Backend::Postgres { line.to_owned() } else { [words[0], words[1], words[3]].join(" ") };
        assert!(found.contains(&wanted), "`{wanted}` is not among {found:#?}");
    }
}

#[tokio::test]
async fn schema_columns_keys_and_indexes_match_on_both_engines() {
    if !Backend::Postgres.is_available() {
        return;
    }
    for (postgres, sqlite) in [(PG_COLUMNS, LITE_COLUMNS), (PG_INDEXES, LITE_INDEXES), (PG_KEYS, LITE_KEYS)] {
        let (postgres, sqlite) = (listed(Backend::Postgres, postgres).await, listed(Backend::Sqlite, sqlite).await);
        assert!(!postgres.is_empty());
        assert_eq!(postgres, sqlite);
    }
}

#[tokio::test]
async fn schema_postgres_has_the_required_indexes() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let found = listed(Backend::Postgres, PG_INDEXES).await;
    for wanted in [
        "users users_email_key unique",
        "users users_stripe_customer_id_key unique",
        "users users_apple_original_transaction_id_key unique",
        "users users_google_purchase_token_key unique",
        "users users_created_at_idx",
        "projects projects_list_idx",
        "projects projects_search_idx",
        "files files_key_key unique",
        "files files_list_idx",
        "webhook_events webhook_events_provider_idempotency_key_key unique",
        "webhook_events webhook_events_provider_idx",
        "webhook_events webhook_events_event_type_idx",
        "webhook_events webhook_events_status_idx",
        "webhook_events webhook_events_created_at_idx",
        "jobs jobs_status_idx",
        "jobs jobs_dedupe_key_key unique",
    ] {
        assert!(found.contains(wanted), "`{wanted}` is not among {found:#?}");
    }
}

/// Rows that another tool inserts get default values, with timestamps in the format of the service.
async fn schema_manual_insert_gets_defaults(b: Backend) {
    let t = TestApp::start(b).await;
    t.sql("INSERT INTO users (id, email) VALUES ('by-hand', 'by-hand@example.test')").await;
    let hand = t.user("by-hand").await.get("/app/users/me").await.expect(200);
    assert_eq!((hand["role"].as_str(), hand["is_active"].as_bool()), (Some("user"), Some(true)));
    let made: chrono::DateTime<chrono::Utc> = hand["created_at"].as_str().unwrap().parse().unwrap();
    let age = omnistack::platform::clock::Clock::System.now() - made;
    assert!((-1..60).contains(&age.num_seconds()), "{hand}");
    t.sql("INSERT INTO projects (id, name, owner_id) VALUES ('0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d', 'x', 'by-hand')").await;
    t.sql("INSERT INTO files (id, owner_id, key, filename) VALUES ('1', 'by-hand', 'k', 'f')").await;
    t.sql("INSERT INTO webhook_events (id, provider, event_type, idempotency_key) VALUES ('1', 'stripe', 'x', 'k')").await;
    for (what, wanted) in [
        ("SELECT login_count + 0 FROM users WHERE id = 'by-hand' AND login_count = 1", "1"),
        ("SELECT status FROM files", "pending"),
        ("SELECT status FROM webhook_events", "pending"),
    ] {
        let text = format!("SELECT CAST(({what}) AS TEXT)");
        assert_eq!(t.texts(&text).await, [wanted], "{what}");
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM files WHERE size = 0").await, 1);
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events WHERE attempts = 0").await, 1);
}
