//! Takeover of the Postgres database of an older service, for each known variant of its schema: no row or value is
//! lost, each changed row is reported by id, and conflicts abort the run before any change.

use futures_util::future::join_all;
use omnistack::app::migrate::{self, Report};
use omnistack::platform::db::Db;
use serde_json::{Map, Value, json};

use crate::harness::database::{Database, connect};
use crate::harness::process::Place;
use crate::harness::{Backend, TestApp};

const OLD_SCHEMA: &str = include_str!("../fixtures/old_schema.sql");

/// Known variants of the old schema: name, and the statements that produce the variant.
const FORMS: [(&str, &str); 5] = [
    ("as its models make it", ""),
    ("with times that may be missing", "ALTER TABLE users ALTER created_at DROP NOT NULL, ALTER updated_at DROP NOT NULL"),
    (
        "without the columns of the app stores",
        "ALTER TABLE users DROP COLUMN apple_original_transaction_id, DROP COLUMN google_purchase_token",
    ),
    ("without projects and files", "DROP TABLE projects; DROP TABLE files"),
    ("without webhook events", "DROP TABLE webhook_events"),
];

const USERS: &str = "
INSERT INTO users (id, created_at, updated_at, email, full_name, avatar_url, role, is_active, stripe_customer_id, subscription_status,
    subscription_plan, last_login_at, login_count) VALUES
('ada', '2024-01-02 03:04:05.123456', '2024-02-02 03:04:05', E'  Ada@Example.COM\\n', 'Ada Lovelace', 'https://example.com/a.png', 'superadmin', true, 'cus_1', 'active', 'pro', '2024-03-01 00:00:00', 7),
('bob', '2024-01-03', '2024-01-03', 'Bob@collide.test', NULL, NULL, 'user', true, NULL, NULL, NULL, NULL, 0),
('bob-again', '2024-01-04', '2024-01-04', 'bOB@collide.test ', NULL, NULL, 'admin', false, NULL, 'weird', 'gold', NULL, 3),
('bob-plain', '2024-01-05', '2024-01-05', 'bob@collide.test', '', NULL, 'user', true, '', NULL, NULL, NULL, 1),
('eve', '2024-01-06', '2024-01-06', 'eve@example.com', 'Ève', NULL, 'owner', true, NULL, NULL, NULL, NULL, 1),
('auth0|émile', '2024-01-07', '2024-01-07', 'ÉMILE@EXAMPLE.COM', NULL, NULL, 'ADMIN', true, NULL, NULL, NULL, NULL, 1)";

const PROJECTS: &str = "
INSERT INTO projects (id, created_at, updated_at, deleted_at, name, description, owner_id) VALUES
('0b6f7a52-5d1a-4c55-9f0e-0d6a4a1f0001', '2024-01-02 10:00:00', '2024-01-02 11:00:00', NULL, E'E\\u0301COLE Polytechnique', 'x', 'ada'),
('0b6f7a52-5d1a-4c55-9f0e-0d6a4a1f0002', '2024-01-02 10:00:01', '2024-01-02 11:00:00', '2024-05-01', 'École gone', NULL, 'ada'),
('0b6f7a52-5d1a-4c55-9f0e-0d6a4a1f0003', '2024-01-02 10:00:02', '2024-01-02 11:00:00', NULL, '', NULL, 'ada'),
('0b6f7a52-5d1a-4c55-9f0e-0d6a4a1f0004', '2024-01-02 10:00:03', '2024-01-02 11:00:00', NULL, '   ', NULL, 'bob');
INSERT INTO projects (id, name, owner_id) SELECT md5(n::text)::uuid, 'ÄRGER ' || n, 'eve' FROM generate_series(1, 1234) n;
INSERT INTO files (id, owner_id, key, filename, content_type, size, status) VALUES
('f1', 'ada', 'uploads/ada/1/a.txt', repeat('n', 300), repeat('t', 200), 2147483647, 'uploaded'), ('f2', 'bob', 'uploads/bob/1/b.txt', 'b', NULL, 0, 'odd')";

const EVENTS: &str = "
INSERT INTO webhook_events (id, provider, event_type, idempotency_key, payload, status, error_message, processed_at, attempts) VALUES
('e1', 'stripe', 'customer.created', 'evt_1', '{\"a\": [1, null]}', 'processed', NULL, '2024-01-01', 1), ('e2', 'clerk', 'user.created', 'evt_2', '{}', 'failed', 'boom', NULL, 3)";

/// An old database of this variant, with rows.
async fn old_database(change: &str) -> (Database, Db) {
    let database = Database::empty(Backend::Postgres).await;
    let (db, _) = connect(&database.url).await;
    database.execute(&db, OLD_SCHEMA).await;
    database.execute(&db, change).await;
    for (table, rows) in [("users", USERS), ("projects", PROJECTS), ("webhook_events", EVENTS)] {
        if database.number(&db, &format!("SELECT COUNT(*) FROM pg_tables WHERE tablename = '{table}'")).await == 1 {
            database.execute(&db, rows).await;
        }
    }
    if change.contains("created_at DROP NOT NULL") {
        database.execute(&db, "UPDATE users SET created_at = NULL, updated_at = NULL WHERE id IN ('ada', 'bob')").await;
        database.execute(&db, "UPDATE users SET created_at = NULL WHERE id = 'eve'").await;
    }
    (database, db)
}

async fn take_over(database: &Database, dry_run: bool) -> anyhow::Result<Report> {
    let (db, url) = connect(&database.url).await;
    migrate::run(&db, &url, &omnistack::features::all(), dry_run).await
}

/// Every row of the old tables that exist, by table and id, with times in the format of the API.
async fn rows(database: &Database, db: &Db) -> Map<String, Value> {
    let mut found = Map::new();
    for table in ["users", "projects", "files", "webhook_events"] {
        if database.number(db, &format!("SELECT COUNT(*) FROM pg_tables WHERE tablename = '{table}'")).await == 1 {
            let text = format!("SELECT COALESCE(jsonb_object_agg(id, to_jsonb(t)), '{{}}')::text FROM {table} t");
            let text = database.texts(db, &text).await.remove(0).replace("+00:00\"", "\"");
            found.insert(table.to_owned(), serde_json::from_str(&text).unwrap());
        }
    }
    found
}

/// The value that a column must have after the takeover.
fn expected(table: &str, id: &str, column: &str, old: &Value) -> Value {
    match (table, id, column) {
        ("users", "ada", "email") => json!("ada@example.com"),
        ("users", "auth0|émile", "email") => json!("émile@example.com"),
        ("users", "eve" | "auth0|émile", "role") => json!("user"),
        _ => old.clone(),
    }
}

fn skipped() -> bool {
    !Backend::Postgres.is_available()
}

#[tokio::test]
async fn takeover_each_schema_variant_keeps_every_row() {
    if skipped() {
        return;
    }
    join_all(FORMS.map(|(form, change)| keeps_every_row(form, change))).await;
}

async fn keeps_every_row(form: &str, change: &str) {
    let (database, db) = old_database(change).await;
    let before = rows(&database, &db).await;
    let report = take_over(&database, false).await.unwrap();
    let after = rows(&database, &db).await;
    assert_eq!(after.len(), 4, "{form}");
    for (table, old) in &before {
        let (old, new) = (old.as_object().unwrap(), after[table].as_object().unwrap());
        assert_eq!(old.len(), new.len(), "{form}: {table}");
        for (id, row) in old {
            for (column, value) in row.as_object().unwrap() {
                let kept = &new[id][column];
                if value.is_null() && ["created_at", "updated_at"].contains(&column.as_str()) {
                    assert!(kept.is_string(), "{form}: {table} {id} {column}");
                } else {
                    assert_eq!(*kept, expected(table, id, column, value), "{form}: {table} {id} {column}");
                }
            }
        }
    }
    let remarks = report.remarks.join("\n");
    assert_eq!(report.remarks.len(), 4, "{form}:\n{remarks}");
    for id in ["user bob: the e-mail", "user bob-again: the e-mail", "user eve: the role", "user auth0|émile: the role"] {
        assert!(remarks.contains(id), "{form}:\n{remarks}");
    }
    assert!(!remarks.contains('@') && !remarks.contains("collide"), "{form}: the remarks contain an e-mail address:\n{remarks}");
    // A second run finds nothing to do and changes nothing.
    let again = take_over(&database, false).await.unwrap();
    assert!(again.applied.is_empty() && again.remarks.is_empty(), "{form}");
    assert_eq!(rows(&database, &db).await, after, "{form}");
}

#[tokio::test]
async fn takeover_missing_timestamp_uses_nearest_known() {
    if skipped() {
        return;
    }
    let (database, db) = old_database(FORMS[1].1).await;
    take_over(&database, false).await.unwrap();
    let users = rows(&database, &db).await.remove("users").unwrap();
    assert_eq!(users["ada"]["created_at"], "2024-03-01T00:00:00", "the last login is the earliest known time");
    assert_eq!(users["eve"]["created_at"], users["eve"]["updated_at"]);
}

#[tokio::test]
async fn takeover_dry_run_reports_and_changes_nothing() {
    if skipped() {
        return;
    }
    let schema =
        "SELECT COALESCE(string_agg(table_name || column_name || data_type || is_nullable, ',' ORDER BY table_name, column_name), '')
                  FROM information_schema.columns WHERE table_schema = 'public'";
    join_all(FORMS.map(|(form, change)| async move {
        let (database, db) = old_database(change).await;
        let before = (rows(&database, &db).await, database.texts(&db, schema).await);
        let report = take_over(&database, true).await.unwrap();
        assert_eq!((report.applied.is_empty(), report.remarks.len()), (false, 4), "{form}");
        assert_eq!((rows(&database, &db).await, database.texts(&db, schema).await), before, "{form}");
    }))
    .await;
}

#[tokio::test]
async fn takeover_duplicate_unique_value_aborts_before_changes() {
    if skipped() {
        return;
    }
    let doubles = [
        ("users.stripe_customer_id", "UPDATE users SET stripe_customer_id = 'cus_1' WHERE id IN ('ada', 'eve')"),
        ("users.apple_original_transaction_id", "UPDATE users SET apple_original_transaction_id = '1000' WHERE id IN ('ada', 'eve')"),
        ("users.google_purchase_token", "UPDATE users SET google_purchase_token = 'purchase' WHERE id IN ('ada', 'eve')"),
        ("files.key", "UPDATE files SET key = 'uploads/same'"),
    ];
    join_all(doubles.map(|(column, double)| refuses(column, double))).await;
}

async fn refuses(column: &str, double: &str) {
    let (database, db) = old_database("").await;
    database.execute(&db, double).await;
    let before = rows(&database, &db).await;
    for dry_run in [true, false] {
        let error = format!("{:#}", take_over(&database, dry_run).await.err().unwrap());
        let ids = if column == "files.key" { "f1, f2" } else { "ada, eve" };
        for wanted in [column, ids, "Remedy", "nothing was changed"] {
            assert!(error.contains(wanted), "{wanted} is not in: {error}");
        }
    }
    assert_eq!(rows(&database, &db).await, before, "{column}");
    assert_eq!(database.number(&db, "SELECT COUNT(*) FROM pg_tables WHERE tablename = '_sqlx_migrations'").await, 0);
    // After the remedy from the message, the takeover succeeds.
    let mend = match column {
        "files.key" => "UPDATE files SET key = key || id".to_owned(),
        column => format!("UPDATE users SET {} = NULL WHERE id = 'eve'", column.trim_start_matches("users.")),
    };
    database.execute(&db, &mend).await;
    take_over(&database, false).await.unwrap();
}

#[tokio::test]
async fn migrate_command_duplicate_values_exits_1() {
    if skipped() {
        return;
    }
    let (database, db) = old_database("").await;
    database.execute(&db, "UPDATE users SET stripe_customer_id = 'cus_secret' WHERE id IN ('ada', 'eve')").await;
    let place = Place::new().with("DATABASE_URL", &database.url);
    for args in [&["migrate"][..], &["serve"]] {
        let outcome = place.run(args).await;
        assert_eq!(outcome.code, 1);
        assert!(outcome.err.contains("ada, eve") && !outcome.err.contains("cus_secret"), "{}", outcome.err);
    }
    database.execute(&db, "UPDATE users SET stripe_customer_id = NULL WHERE id = 'eve'").await;
    let shown = place.run(&["migrate", "--dry-run"]).await.expect_ok();
    assert!(shown.contains("would apply 0001 users") && shown.contains("user eve: the role"), "{shown}");
    let done = place.run(&["migrate"]).await.expect_ok();
    assert!(done.contains("applied 0001 users") && done.contains("user eve: the role") && !done.contains('@'), "{done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takeover_users_keep_projects_and_access() {
    if skipped() {
        return;
    }
    let (database, db) = old_database("").await;
    take_over(&database, false).await.unwrap();
    assert_eq!(database.number(&db, "SELECT COUNT(*) FROM projects WHERE name_folded = '' AND name <> ''").await, 0);
    db.close().await;
    let t = TestApp::on(database, &[]).await;
    let ada = t.user("ada").await;
    let me = ada.get("/app/users/me").await.expect(200);
    assert_eq!((me["email"].as_str(), me["role"].as_str()), (Some("ada@example.com"), Some("superadmin")));
    assert_eq!(me["created_at"], "2024-01-02T03:04:05.123456Z");
    let found = ada.get("/app/projects?search=%C3%A9cole").await.expect(200);
    assert_eq!((found["total"].as_i64(), found["items"][0]["name"].as_str()), (Some(1), Some("E\u{301}COLE Polytechnique")));
    assert_eq!(ada.get("/app/projects").await.expect(200)["total"], 2, "the deleted project stays deleted");
    let eve = t.user("eve").await;
    assert_eq!(eve.get("/app/projects?search=%C3%A4rger").await.expect(200)["total"], 1234);
    assert_eq!(eve.get("/app/projects?search=%C3%84rger%201234").await.expect(200)["total"], 1);
    eve.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
    let listed = ada.get("/admin/users?limit=100").await.expect(200);
    assert_eq!(listed["total"], 6);
    // A deactivated account stays refused. An account with a colliding address still works, because it is found by id.
    let refused = t.with_token(&crate::harness::tokens::claims("bob-again", &t.clock).sign(crate::harness::SECRET));
    refused.get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
    assert_eq!(t.user("bob").await.get("/app/users/me").await.expect(200)["email"], "Bob@collide.test");
}
